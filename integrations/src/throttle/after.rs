//! What a request costs in the end, once its response is known: given back, or charged on top.

use std::cmp::Ordering;
use std::sync::Arc;

use http::response::Parts;
use traffik_core::storage::{AsyncStorage, BoxFuture, Reply};
use traffik_core::{Hit, Op, Strategy, Verdict};

use super::Throttle;
use super::prepare::Plan;
use crate::middleware::admission::Left;
use crate::middleware::background::Unbroken;
use crate::middleware::body::Meter;

/// What is done once the head of a response is there.
pub(crate) enum After<S: Strategy> {
    Nothing,
    /// The charge is given back unless the response counts.
    ChargeIf(Arc<dyn Fn(&Parts) -> bool + Send + Sync>),
    /// The body is counted, and tells what the request costs.
    Settle(Arc<dyn Fn(&Parts) -> Bill<S> + Send + Sync>),
}

type Receipt<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// What makes up for the difference between a charge and the true cost, which follows from the length of a body.
type Bill<S> = Box<dyn Fn(Hit<<S as Strategy>::Cost>, Receipt<S>, u64) -> Option<Op<S>> + Send + Sync>;

impl<S: Strategy<Cost = u32>> After<S> {
    /// Settles by what `cost` says of the head and the length of the body.
    pub(crate) fn settle(cost: impl Fn(&Parts, u64) -> u32 + Send + Sync + 'static) -> Self {
        let cost = Arc::new(cost);
        Self::Settle(Arc::new(move |head| {
            let (cost, head) = (Arc::clone(&cost), head.clone());
            Box::new(move |charged, receipt, bytes| {
                let due = cost(&head, bytes);
                match due.cmp(&charged.cost) {
                    Ordering::Less => Some(Op::Refund(Hit { cost: charged.cost - due, ..charged }, receipt)),
                    Ordering::Equal => None,
                    Ordering::Greater => Some(Op::Charge(Hit { cost: due - charged.cost, ..charged })),
                }
            })
        }))
    }
}

impl<S: Strategy> After<S> {
    /// What remains to be done about a request that was charged.
    pub(crate) fn left<M: AsyncStorage<S> + 'static>(
        &self,
        throttle: &Throttle<S, M>,
        plan: Arc<Plan<S, M>>,
        receipt: Receipt<S>,
        response: &Parts,
    ) -> Left {
        match self {
            Self::Nothing => Left::default(),
            Self::ChargeIf(counts) if counts(response) => Left::default(),
            Self::ChargeIf(_) => {
                let reply = throttle.apply(&plan, &Op::Refund(plan.hit, receipt));
                Left { before: throttle.told(reply), meter: None }
            }
            Self::Settle(bill) => {
                let bill = bill(response);
                Left {
                    before: None,
                    meter: Some(Box::new(Account { throttle: throttle.clone(), plan, receipt, bill })),
                }
            }
        }
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// What is to be awaited until the storage has taken something in; what it says of it is nobody's business. If it is
    /// not awaited, it goes on in the background, where there is one.
    pub(crate) fn told(&self, reply: Reply<S::Verdict>) -> Option<BoxFuture<'static, ()>> {
        match reply {
            Reply::Ready(_) => None,
            pending => {
                let told = Box::pin(async move { drop(pending.await) });
                Some(match &self.0.spawner {
                    Some(spawn) => Box::pin(Unbroken::new(told, Arc::clone(spawn))),
                    None => told,
                })
            }
        }
    }
}

/// A request whose cost follows from the length of its response.
struct Account<S: Strategy, M> {
    throttle: Throttle<S, M>,
    plan: Arc<Plan<S, M>>,
    receipt: Receipt<S>,
    bill: Bill<S>,
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Meter for Account<S, M> {
    fn settle(self: Box<Self>, bytes: u64) -> Option<BoxFuture<'static, ()>> {
        let op = (self.bill)(self.plan.hit, self.receipt, bytes)?;
        self.throttle.told(self.throttle.apply(&self.plan, &op))
    }
}

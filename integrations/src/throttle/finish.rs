//! The settlement of a charged request, once the head of its response is there.

use std::sync::Arc;

use http::response::Parts;
use traffik_core::storage::{AsyncStorage, BoxFuture, Reply};
use traffik_core::{Op, Strategy};

use super::handle::Throttle;
use super::plan::Plan;
use super::settlement::{Bill, Settlement, VerdictReceipt};
use crate::middleware::admission::Completion;
use crate::middleware::background::BackgroundFuture;
use crate::middleware::body::BodyMeter;

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Returns the work that remains for a charged request, given the head of its response.
    pub(crate) fn completion(
        &self,
        plan: Arc<Plan<S, M>>,
        receipt: VerdictReceipt<S>,
        response: &Parts,
    ) -> Completion {
        match &self.0.after {
            Settlement::Nothing => Completion::default(),
            Settlement::ChargeIf(counts) if counts(response) => Completion::default(),
            Settlement::ChargeIf(_) => {
                let reply = self.apply(&plan, &Op::Refund(plan.hit, receipt));
                Completion { before: self.awaitable(reply), meter: None }
            }
            Settlement::Settle(bill) => {
                let bill = bill(response);
                let account = BodySettlement { throttle: self.clone(), plan, receipt, bill };
                Completion { before: None, meter: Some(Box::new(account)) }
            }
        }
    }

    /// Refunds an admission. Returns the future to await if there is no spawner.
    pub(crate) fn give_back(
        &self,
        plan: &Plan<S, M>,
        receipt: VerdictReceipt<S>,
    ) -> Option<BoxFuture<'static, ()>> {
        let done = self.awaitable(self.apply(plan, &Op::Refund(plan.hit, receipt)));
        // With a spawner the future is dropped here, which starts it in the background.
        done.filter(|_| self.0.profile.spawner.is_none())
    }

    /// Returns a future that waits for the storage and ignores its answer; `None` if it has answered. A
    /// dropped future continues in the background if there is a spawner.
    fn awaitable(&self, reply: Reply<S::Verdict>) -> Option<BoxFuture<'static, ()>> {
        match reply {
            Reply::Ready(_) => None,
            pending => {
                let done = Box::pin(async move { drop(pending.await) });
                Some(match &self.0.profile.spawner {
                    Some(spawn) => Box::pin(BackgroundFuture::new(done, Arc::clone(spawn))),
                    None => done,
                })
            }
        }
    }
}

/// A request whose cost depends on the length of its response.
struct BodySettlement<S: Strategy, M> {
    throttle: Throttle<S, M>,
    plan: Arc<Plan<S, M>>,
    receipt: VerdictReceipt<S>,
    bill: Bill<S>,
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> BodyMeter for BodySettlement<S, M> {
    fn settle(self: Box<Self>, bytes: u64) -> Option<BoxFuture<'static, ()>> {
        let op = (self.bill)(self.plan.hit, self.receipt, bytes)?;
        self.throttle.awaitable(self.throttle.apply(&self.plan, &op))
    }
}

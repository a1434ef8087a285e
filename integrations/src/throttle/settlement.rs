//! What a request costs in the end, once its response is known: given back, or charged on top.

use std::cmp::Ordering;
use std::sync::Arc;

use http::response::Parts;
use traffik_core::{Hit, Op, Strategy, Verdict};

/// What is done once the head of a response is there.
pub(crate) enum Settlement<S: Strategy> {
    Nothing,
    /// The charge is given back unless the response counts.
    ChargeIf(Arc<dyn Fn(&Parts) -> bool + Send + Sync>),
    /// The body is counted, and tells what the request costs.
    Settle(Arc<dyn Fn(&Parts) -> Bill<S> + Send + Sync>),
}

pub(crate) type ReceiptOf<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// What makes up for the difference between a charge and the true cost, which follows from the length of a body.
pub(super) type Bill<S> =
    Box<dyn Fn(Hit<<S as Strategy>::Cost>, ReceiptOf<S>, u64) -> Option<Op<S>> + Send + Sync>;

impl<S: Strategy<Cost = u32>> Settlement<S> {
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

//! The settlement of a charge by the response: a refund, or an extra charge.

use std::cmp::Ordering;
use std::sync::Arc;

use http::response::Parts;
use traffik_core::{Hit, Op, Strategy, Verdict};

/// The settlement of a charge, once the head of the response is there.
pub(crate) enum Settlement<S: Strategy> {
    Nothing,
    /// Refunds the charge unless the response counts.
    ChargeIf(Arc<dyn Fn(&Parts) -> bool + Send + Sync>),
    /// Refunds or charges the difference to the cost of the response, once its body has ended.
    Settle(Arc<dyn Fn(&Parts) -> Bill<S> + Send + Sync>),
}

/// The receipt of a strategy's verdict.
pub(crate) type VerdictReceipt<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// Returns the operation for the difference between a charge and the true cost of a body of this length.
pub(super) type Bill<S> =
    Box<dyn Fn(Hit<<S as Strategy>::Cost>, VerdictReceipt<S>, u64) -> Option<Op<S>> + Send + Sync>;

impl<S: Strategy<Cost = u32>> Settlement<S> {
    /// Settles by `cost`, a function of the head and the length of the body in bytes.
    pub(crate) fn settle(cost: impl Fn(&Parts, u64) -> u32 + Send + Sync + 'static) -> Self {
        let cost = Arc::new(cost);
        Self::Settle(Arc::new(move |head| {
            let (cost, head) = (Arc::clone(&cost), head.clone());
            Box::new(move |charged, receipt, bytes| {
                let due = cost(&head, bytes);
                // refund = charged - due, or charge = due - charged
                match due.cmp(&charged.cost) {
                    Ordering::Less => Some(Op::Refund(Hit { cost: charged.cost - due, ..charged }, receipt)),
                    Ordering::Equal => None,
                    Ordering::Greater => Some(Op::Charge(Hit { cost: due - charged.cost, ..charged })),
                }
            })
        }))
    }
}

//! The answer of a strategy, be it one decision or several.

use core::fmt;

use super::{Decision, Kind, Quotient};
use crate::{Origin, Outcome, Receipt, Receipts};

/// The answer of a strategy: a [`Decision`], or several where limits are composed.
pub trait Verdict: Clone + PartialEq + fmt::Debug + Send + 'static {
    /// The receipt by which [`Strategy::refund`](crate::Strategy::refund) takes this admission back.
    type Receipt: Receipts;

    /// Whether the hit may pass; of several limits, whether all admit it.
    fn outcome(&self) -> Outcome;

    /// Whether the state was changed and has to be written back.
    fn is_dirty(&self) -> bool;

    /// How depleted the limit is: how often it has halved, from 0 (over half is left) to at most 64, and 255
    /// once not even a cost of 1 is left; of several, the most.
    fn pressure(&self) -> u8;

    /// The receipt of the charge; meaningless unless the hit was admitted.
    fn receipt(&self) -> Self::Receipt;

    /// Whether the hit may pass; of several limits, whether all admit it. It says what the
    /// [`outcome`](Self::outcome) does, without how long that takes.
    fn is_allowed(&self) -> bool {
        self.outcome().is_allowed()
    }

    /// Calls `change` with each of the receipts: it notes in them who admitted the hit. One that cannot, as
    /// is taken for granted if nothing is said, is taken for one of the storage that is asked first.
    fn for_each_receipt_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        let _ = change;
    }

    /// Calls `visit` with the decision of each limit, in the order they were composed.
    fn for_each(&self, visit: &mut dyn FnMut(&Decision));

    /// The same answer once so many microseconds have gone by in which nothing else happened: its waits are
    /// shorter by that, and what else it tells stays. `None` if the wait of a denial in it is over by then,
    /// or if this kind of verdict cannot tell, as is taken for granted if nothing is said.
    ///
    /// It is what a cache of denials answers with.
    fn aged_by(&self, by: u64) -> Option<Self> {
        let _ = by;
        None
    }

    /// Where it comes from: of several decisions, from what is the furthest from the store.
    fn origin(&self) -> Origin {
        let mut origin = Origin::Store;
        self.for_each(&mut |decision| origin = origin.max(decision.origin()));
        origin
    }

    /// The same verdict, coming from there; one that cannot tell, as is taken for granted if nothing is said,
    /// stays as it is.
    #[must_use]
    fn with_origin(self, origin: Origin) -> Self {
        let _ = origin;
        self
    }
}

impl Verdict for Decision {
    type Receipt = Receipt;

    fn outcome(&self) -> Outcome {
        self.outcome()
    }

    fn is_dirty(&self) -> bool {
        self.recorded
    }

    fn pressure(&self) -> u8 {
        let (left, all) = (self.remaining.num, (self.limit as u64).saturating_mul(self.remaining.den.max(1)));
        if left < self.remaining.den.max(1) {
            return u8::MAX;
        }
        left.leading_zeros().saturating_sub(all.leading_zeros()) as u8
    }

    fn receipt(&self) -> Receipt {
        self.receipt()
    }

    fn is_allowed(&self) -> bool {
        self.is_allowed()
    }

    fn for_each_receipt_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        let mut receipt = self.receipt();
        change(&mut receipt);
        *self = self.with_receipt(receipt);
    }

    fn for_each(&self, visit: &mut dyn FnMut(&Decision)) {
        visit(self);
    }

    #[inline]
    fn aged_by(&self, by: u64) -> Option<Self> {
        let (wait, reset) = self.waits();
        if self.kind == Kind::Deny && wait <= by {
            return None;
        }
        // What takes for ever still does.
        let left = |wait| Quotient::whole(if wait == u64::MAX { wait } else { wait.saturating_sub(by) });
        let settled = self.settled();
        let wait = match self.kind {
            Kind::Allow | Kind::Never => left(settled.wait.ceil()),
            Kind::Delay | Kind::Unlimited | Kind::Deny => left(wait),
        };
        Some(Self { wait, reset: left(reset), ..settled })
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn with_origin(self, origin: Origin) -> Self {
        self.with_origin(origin)
    }
}

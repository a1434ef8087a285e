//! The answer of a strategy: one decision or several.

use core::fmt;

use super::{Decision, Kind, Quotient};
use crate::{Origin, Outcome, Receipt, Receipts};

/// The answer of a strategy: a [`Decision`], or several where limits are composed.
///
/// Import it to read a verdict whose type is generic. Implement it only for a strategy whose answer is
/// neither.
///
/// ```
/// use traffik::{Limiter, Memory, Storage, StorageError, Strategy, TokenBucket, Verdict, rate};
///
/// fn passes<S: Strategy, M: Storage<S>>(limiter: &Limiter<S, M>) -> Result<bool, StorageError> {
///     Ok(limiter.check("alice")?.is_allowed())
/// }
/// let bucket = TokenBucket::new(rate!("1/min"));
/// assert!(passes(&Limiter::new(bucket, Memory::new(1_000)))?);
/// # Ok::<(), StorageError>(())
/// ```
pub trait Verdict: Clone + PartialEq + fmt::Debug + Send + 'static {
    /// The receipt by which [`Strategy::refund`](crate::Strategy::refund) takes this admission back.
    type Receipt: Receipts;

    /// Returns whether the hit may pass, and when; of several limits, whether all admit it.
    fn outcome(&self) -> Outcome;

    /// Reports whether the decision changed the state, which then has to be written back.
    fn is_dirty(&self) -> bool;

    /// Returns how depleted the limit is; of several limits, the most depleted.
    ///
    /// The number counts how often the rest has halved, by powers of two: from 0 (over half is left) to at
    /// most 63, and 255 once not even a cost of 1 is left.
    fn pressure(&self) -> u8;

    /// Returns the receipt of the charge; meaningless unless the hit was admitted.
    fn receipt(&self) -> Self::Receipt;

    /// Reports whether the hit may pass; of several limits, whether all admit it.
    ///
    /// It is the [`outcome`](Self::outcome) without the waits.
    fn is_allowed(&self) -> bool {
        self.outcome().is_allowed()
    }

    /// Calls `change` with each of the receipts, for a layer that writes into them which storage admitted the
    /// hit.
    ///
    /// Defaults to no call: the hit then counts as admitted by the layer's first storage.
    fn for_each_receipt_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        let _ = change;
    }

    /// Calls `visit` with the decision of each limit, in the order in which they were composed.
    fn for_each(&self, visit: &mut dyn FnMut(&Decision));

    /// Returns this verdict as it is `by` microseconds later, if nothing else has happened.
    ///
    /// Its waits are shorter by that time, and its other figures stay. A cache of denials answers with it.
    /// Returns `None` if the wait of a denial in it has ended by then. Defaults to `None`.
    fn aged_by(&self, by: u64) -> Option<Self> {
        let _ = by;
        None
    }

    /// Returns where the verdict comes from: of several decisions, the one that is the furthest from the
    /// store.
    fn origin(&self) -> Origin {
        let mut origin = Origin::Store;
        self.for_each(&mut |decision| origin = origin.max(decision.origin()));
        origin
    }

    /// Sets where the verdict comes from. Defaults to no change.
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
        // In units of the same size: left = num, all = limit · den; a cost of 1 takes den units.
        let (left, all) = (self.remaining.num, (self.limit as u64).saturating_mul(self.remaining.den.max(1)));
        if left < self.remaining.den.max(1) {
            return u8::MAX;
        }
        // pressure = floor(log₂ all) - floor(log₂ left).
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
        // left = wait - by; a wait without an end stays one.
        let left = |wait| Quotient::whole(if wait == u64::MAX { wait } else { wait.saturating_sub(by) });
        let settled = self.settled();
        let wait = match self.kind {
            // Here `wait` is the time until more can be had, elsewhere the wait of the hit.
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

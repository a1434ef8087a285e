//! One strategy chosen at run time, answering with a plain decision.

use core::ops::Deref;

use crate::strategy::compose::all::Each;
use crate::strategy::compose::erased::{Chosen, Erased, ErasedScale, InlineState};
use crate::strategy::wire::stats::Reported;
use crate::strategy::{CapacityError, Class, Hit, Part, Scale, Strategy};
use crate::{Decision, Ratio, Receipt, Timestamp};

/// An [`Erased`] strategy of a single limit, whose verdict is that limit's [`Decision`]: what the wrappers by
/// priority and by time of day ask for.
#[derive(Clone, Copy, Debug)]
pub struct Single<P, const LEN: usize>(Erased<P, LEN, 1>);

impl<P: Deref, const LEN: usize> PartialEq for Single<P, LEN> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<P, const LEN: usize> Single<P, LEN> {
    /// The strategy behind this pointer.
    #[must_use]
    pub const fn new(limit: P) -> Self {
        Self(Erased::new(limit))
    }

    /// The same strategy in the place of another one; see [`Erased::succeeding`].
    #[must_use]
    pub fn succeeding(self, before: P) -> Self {
        Self(self.0.succeeding(before))
    }
}

impl<P, const LEN: usize> Strategy for Single<P, LEN>
where
    P: Deref<Target: Chosen<LEN, 1>> + Clone + Send + Sync + 'static,
{
    type State = InlineState<LEN>;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = Reported;

    fn decide(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp) -> Decision {
        self.0.decide(state, hit, now).single()
    }

    fn peek(&self, state: &InlineState<LEN>, hit: &Hit, now: Timestamp) -> Decision {
        self.0.peek(state, hit, now).single()
    }

    fn charge(&self, state: &mut InlineState<LEN>, hit: &Hit, now: Timestamp) {
        self.0.charge(state, hit, now);
    }

    fn refund(&self, state: &mut InlineState<LEN>, hit: &Hit, receipt: Receipt, now: Timestamp) {
        self.0.refund(state, hit, Each([receipt]), now);
    }

    fn fresh_at(&self, state: &InlineState<LEN>, class: Class) -> Timestamp {
        self.0.fresh_at(state, class)
    }

    fn horizon(&self) -> u64 {
        self.0.horizon()
    }

    #[inline]
    fn records_demand(&self) -> bool {
        self.0.records_demand()
    }

    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(Part)) -> bool {
        self.0.parts_of(hit, visit)
    }

    fn stat(&self, state: &InlineState<LEN>, class: Class, now: Timestamp) -> Reported {
        self.0.stat(state, class, now)
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.0.fits_script()
    }
}

impl<P, const LEN: usize> Scale for Single<P, LEN>
where
    P: Deref<Target = dyn ErasedScale<LEN, 1>> + Clone + Send + Sync + 'static,
{
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.0.scaled(ratio).map(Self)
    }

    fn advance(&self, state: &mut InlineState<LEN>, class: Class, to: Timestamp) {
        self.0.advance(state, class, to);
    }

    fn advance_receipt(&self, receipt: &mut Receipt, class: Class, to: Timestamp) {
        let mut receipts = Each([*receipt]);
        self.0.advance_receipt(&mut receipts, class, to);
        let Each([advanced]) = receipts;
        *receipt = advanced;
    }

    fn parts(&self) -> u64 {
        self.0.parts()
    }

    fn finer(&self, factor: u64) -> Result<Self, CapacityError> {
        self.0.finer(factor).map(Self)
    }
}

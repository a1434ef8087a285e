//! The verdicts that a strategy of unknown type can return.

use crate::strategy::compose::composite::{Composite, Parts, sealed};
use crate::strategy::compose::per_limit::PerLimit;
use crate::{Decision, Origin, Receipt, Receipts, Verdict};

/// The decisions of at most `N` limits, as parts of a [`Composite`] verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DecisionList<const N: usize> {
    /// Beyond the length they hold receipts alone.
    decisions: [Decision; N],
    length: usize,
}

impl<const N: usize> Composite<DecisionList<N>> {
    /// The decision of each limit, in the order they were composed.
    pub fn decisions(&self) -> &[Decision] {
        self.parts.decisions.get(..self.parts.length).unwrap_or_default()
    }
}

impl<const N: usize> Parts for DecisionList<N> {
    type Receipt = PerLimit<Receipt, N>;

    fn receipt(&self) -> Self::Receipt {
        self.decisions.receipt()
    }

    fn for_each_receipt_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.decisions.for_each_receipt_mut(change);
    }

    fn for_each(&self, visit: &mut dyn FnMut(&Decision)) {
        self.decisions.iter().take(self.length).for_each(visit);
    }

    fn aged_by(&self, by: u64) -> Option<Self> {
        // A decision beyond the length denies nothing.
        Some(Self { decisions: self.decisions.aged_by(by)?, ..*self })
    }

    fn with_origin(self, origin: Origin) -> Self {
        Self { decisions: self.decisions.with_origin(origin), ..self }
    }
}

/// A verdict that holds those of a strategy whose type is not known: a [`Decision`] holds that of one limit,
/// a [`Composite`] of a [`DecisionList`] those of several.
pub trait ErasedVerdict: Verdict + sealed::Sealed {
    /// The same verdict in this form.
    fn of<V: Verdict>(verdict: &V) -> Self;
}

impl sealed::Sealed for Decision {}
impl<const N: usize> sealed::Sealed for DecisionList<N> {}
impl<const N: usize> sealed::Sealed for Composite<DecisionList<N>> {}

impl ErasedVerdict for Decision {
    fn of<V: Verdict>(verdict: &V) -> Self {
        let mut only = Self::unlimited();
        verdict.for_each(&mut |decision| only = *decision);
        let outcome = verdict.outcome();
        // A strategy of one's own may decide otherwise than the decision that it shows.
        let only = if only.outcome() == outcome { only } else { only.with_outcome(outcome) };
        only.recorded(verdict.is_dirty()).with_receipt(converted(verdict.receipt()))
    }
}

impl<const N: usize> ErasedVerdict for Composite<DecisionList<N>> {
    fn of<V: Verdict>(verdict: &V) -> Self {
        let mut parts = DecisionList { decisions: [Decision::unlimited(); N], length: 0 };
        verdict.for_each(&mut |decision| {
            if let Some(place) = parts.decisions.get_mut(parts.length) {
                *place = *decision;
                parts.length += 1;
            }
        });
        let mut places = parts.decisions.iter_mut();
        verdict.receipt().for_each(&mut |receipt| {
            if let Some(place) = places.next() {
                *place = place.with_receipt(receipt);
            }
        });
        Self { parts, outcome: verdict.outcome(), recorded: verdict.is_dirty() }
    }
}

/// The same receipts in another form, in their order; the default for those that are missing.
pub(super) fn converted<A: Receipts, B: Receipts>(receipts: A) -> B {
    let mut wanted = 0;
    B::gather(&mut || {
        let (mut at, mut found) = (0, Receipt::default());
        receipts.for_each(&mut |receipt| {
            if at == wanted {
                found = receipt;
            }
            at += 1;
        });
        wanted += 1;
        found
    })
}

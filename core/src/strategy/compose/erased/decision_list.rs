//! The verdicts of a strategy of unknown type.

use crate::strategy::compose::composite::{Composite, Parts, sealed};
use crate::strategy::compose::per_limit::PerLimit;
use crate::{Decision, Origin, Receipt, Receipts, Verdict};

/// The decisions of at most `N` limits, as the parts of a [`Composite`] verdict.
///
/// ```
/// use traffik::strategy::{Composite, DecisionList, Erased, ErasedStrategy};
/// use traffik::{All, Gcra, Hit, Strategy, Timestamp, rate};
///
/// static BOTH: All<Gcra, 2> = All([Gcra::new(rate!("2/s")), Gcra::new(rate!("3/min"))]);
/// let chosen: &'static dyn ErasedStrategy<64, Composite<DecisionList<2>>> = &BOTH;
/// let verdict = Erased::new(chosen).decide(&mut Default::default(), &Hit::new(1), Timestamp::EPOCH);
/// assert_eq!(verdict.decisions().len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DecisionList<const N: usize> {
    /// Places beyond the length hold only receipts.
    decisions: [Decision; N],
    length: usize,
}

impl<const N: usize> Composite<DecisionList<N>> {
    /// Returns the decision of each limit, in the order of composition.
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
        // Decisions beyond the length deny nothing, so none of them makes this `None`.
        Some(Self { decisions: self.decisions.aged_by(by)?, ..*self })
    }

    fn with_origin(self, origin: Origin) -> Self {
        Self { decisions: self.decisions.with_origin(origin), ..self }
    }
}

/// A verdict of a strategy whose type is not known: a [`Decision`] for one limit, or a [`Composite`] of a
/// [`DecisionList`] for several.
///
/// ```
/// use traffik::strategy::ErasedVerdict;
/// use traffik::{Decision, FixedWindow, Hit, Strategy, Timestamp, rate};
///
/// let strategy = FixedWindow::new(rate!("2/s"));
/// let decision = strategy.decide(&mut Default::default(), &Hit::new(1), Timestamp::EPOCH);
/// assert_eq!(<Decision as ErasedVerdict>::of(&decision).remaining(), 1);
/// ```
pub trait ErasedVerdict: Verdict + sealed::SealedParts {
    /// Converts a verdict to this form.
    fn of<V: Verdict>(verdict: &V) -> Self;
}

impl sealed::SealedParts for Decision {}
impl<const N: usize> sealed::SealedParts for DecisionList<N> {}
impl<const N: usize> sealed::SealedParts for Composite<DecisionList<N>> {}

impl ErasedVerdict for Decision {
    fn of<V: Verdict>(verdict: &V) -> Self {
        let mut only = Self::unlimited();
        verdict.for_each(&mut |decision| only = *decision);
        let outcome = verdict.outcome();
        // A custom strategy's outcome may differ from that of the decision it shows; the outcome wins.
        let only = if only.outcome() == outcome { only } else { only.with_outcome(outcome) };
        only.with_dirty(verdict.is_dirty()).with_receipt(converted(verdict.receipt()))
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

/// Converts receipts to another form, in their order; missing ones become the default.
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

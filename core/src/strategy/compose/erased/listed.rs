//! The verdict of any strategy as a list of decisions.

use crate::strategy::compose::all::Each;
use crate::{Decision, Origin, Outcome, Receipt, Receipts, Verdict};

/// The decisions of a strategy whose type is not known, of which there are at most `N`, and what they come to
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub struct Listed<const N: usize> {
    decisions: [Decision; N],
    length: usize,
    receipts: Each<Receipt, N>,
    outcome: Outcome,
    recorded: bool,
}

impl<const N: usize> Listed<N> {
    pub(crate) fn of<V: Verdict>(verdict: &V) -> Self {
        let (mut decisions, mut length) = ([Decision::unlimited(); N], 0);
        verdict.each(&mut |decision| {
            if let Some(place) = decisions.get_mut(length) {
                *place = *decision;
                length += 1;
            }
        });
        let receipts = scatter(verdict.receipt());
        Self { decisions, length, receipts, outcome: verdict.outcome(), recorded: verdict.is_recorded() }
    }

    /// What each limit says for itself, in the order they were composed.
    pub fn decisions(&self) -> &[Decision] {
        self.decisions.get(..self.length).unwrap_or_default()
    }

    /// Whether the hit may pass.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.outcome.is_allowed()
    }
}

impl Listed<1> {
    /// The only decision, which is what they come to together.
    pub(super) fn single(self) -> Decision {
        let [decision] = self.decisions;
        decision
    }
}

impl<const N: usize> Verdict for Listed<N> {
    type Receipt = Each<Receipt, N>;

    fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn is_recorded(&self) -> bool {
        self.recorded
    }

    fn pressure(&self) -> u8 {
        self.decisions().iter().map(Verdict::pressure).max().unwrap_or(0)
    }

    fn receipt(&self) -> Self::Receipt {
        self.receipts
    }

    fn is_allowed(&self) -> bool {
        self.outcome.is_allowed()
    }

    fn each_receipt(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.receipts.each_mut(change);
    }

    fn each(&self, visit: &mut dyn FnMut(&Decision)) {
        self.decisions().iter().for_each(visit);
    }

    fn with_origin(self, origin: Origin) -> Self {
        Self { decisions: self.decisions.map(|decision| decision.with_origin(origin)), ..self }
    }

    fn later_by_micros(&self, by: u64) -> Option<Self> {
        let mut later = Self { outcome: self.outcome.later_by_micros(by)?, ..*self };
        for decision in later.decisions.iter_mut().take(self.length) {
            *decision = decision.later_by_micros(by)?;
        }
        Some(later)
    }
}

/// The receipts of a strategy, out of the list.
pub(super) fn gather<R: Receipts, const N: usize>(receipts: Each<Receipt, N>) -> R {
    let mut receipts = receipts.0.into_iter();
    R::gather(&mut || receipts.next().unwrap_or_default())
}

/// The receipts of a strategy, as a list.
pub(super) fn scatter<const N: usize>(receipts: impl Receipts) -> Each<Receipt, N> {
    let mut list = Each::default();
    let mut places = list.0.iter_mut();
    receipts.each(&mut |receipt| {
        if let Some(place) = places.next() {
            *place = receipt;
        }
    });
    list
}

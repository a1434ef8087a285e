//! The verdict of several limits that must all admit.

use core::array;
use core::fmt::Debug;

use crate::strategy::compose::per_limit::PerLimit;
use crate::{Decision, Origin, Outcome, Receipt, Receipts, Verdict};

/// The verdict of several limits: the verdict of each one, and their common outcome.
///
/// Read [`is_allowed`](Self::is_allowed) first, and `parts` to see which limit denied. The parts are an array
/// for [`All`](crate::All), a pair for a pair of strategies, and a `strategy::DecisionList` for an
/// [`Erased`](crate::Erased) strategy.
///
/// ```
/// use traffik::{All, Hit, Strategy, Timestamp, TokenBucket, rate};
///
/// let strategy = All([TokenBucket::new(rate!("2/s")), TokenBucket::new(rate!("3/min"))]);
/// let verdict = strategy.decide(&mut Default::default(), &Hit::new(1), Timestamp::EPOCH);
/// assert!(verdict.is_allowed());
/// assert_eq!(verdict.parts.map(|decision| decision.remaining()), [1, 2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub struct Composite<T> {
    /// The verdict of each limit alone, in the order of composition.
    pub parts: T,
    pub(super) outcome: Outcome,
    pub(super) recorded: bool,
}

impl<T> Composite<T> {
    /// Reports whether all limits admit the hit.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.outcome.is_allowed()
    }
}

/// The parts of a [`Composite`] verdict: an array, a pair, or a list of decisions.
///
/// ```
/// use traffik::{All, Gcra, Hit, Strategy, Timestamp, rate};
///
/// let strategy = All([Gcra::new(rate!("2/s")), Gcra::new(rate!("3/min"))]);
/// let verdict = strategy.decide(&mut Default::default(), &Hit::new(1), Timestamp::EPOCH);
/// assert!(verdict.parts.iter().all(|decision| decision.is_allowed()));
/// ```
pub trait Parts: Clone + PartialEq + Debug + Send + sealed::SealedParts + 'static {
    /// The receipts of the parts, in the same order.
    type Receipt: Receipts;

    /// See [`Verdict::receipt`].
    fn receipt(&self) -> Self::Receipt;

    /// See [`Verdict::for_each_receipt_mut`].
    fn for_each_receipt_mut(&mut self, change: &mut dyn FnMut(&mut Receipt));

    /// See [`Verdict::for_each`].
    fn for_each(&self, visit: &mut dyn FnMut(&Decision));

    /// See [`Verdict::aged_by`].
    fn aged_by(&self, by: u64) -> Option<Self>;

    /// See [`Verdict::with_origin`].
    #[must_use]
    fn with_origin(self, origin: Origin) -> Self;
}

pub(super) mod sealed {
    pub trait SealedParts {}
    impl<V, const N: usize> SealedParts for [V; N] {}
    impl<A, B> SealedParts for (A, B) {}
}

#[deny(clippy::missing_trait_methods)]
impl<T: Parts> Verdict for Composite<T> {
    type Receipt = T::Receipt;

    fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn is_dirty(&self) -> bool {
        self.recorded
    }

    fn pressure(&self) -> u8 {
        let mut most = 0;
        self.parts.for_each(&mut |decision| most = most.max(decision.pressure()));
        most
    }

    fn receipt(&self) -> T::Receipt {
        self.parts.receipt()
    }

    fn is_allowed(&self) -> bool {
        self.outcome.is_allowed()
    }

    fn for_each_receipt_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.parts.for_each_receipt_mut(change);
    }

    fn for_each(&self, visit: &mut dyn FnMut(&Decision)) {
        self.parts.for_each(visit);
    }

    fn aged_by(&self, by: u64) -> Option<Self> {
        let outcome = self.outcome.aged_by(by)?;
        Some(Self { parts: self.parts.aged_by(by)?, outcome, recorded: self.recorded })
    }

    fn origin(&self) -> Origin {
        let mut furthest = Origin::Store;
        self.parts.for_each(&mut |decision| furthest = furthest.max(decision.origin()));
        furthest
    }

    fn with_origin(self, origin: Origin) -> Self {
        Self { parts: self.parts.with_origin(origin), ..self }
    }
}

impl<V: Verdict, const N: usize> Parts for [V; N] {
    type Receipt = PerLimit<V::Receipt, N>;

    fn receipt(&self) -> Self::Receipt {
        PerLimit(array::from_fn(|at| self.get(at).map(Verdict::receipt).unwrap_or_default()))
    }

    fn for_each_receipt_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.iter_mut().for_each(|verdict| verdict.for_each_receipt_mut(change));
    }

    fn for_each(&self, visit: &mut dyn FnMut(&Decision)) {
        self.iter().for_each(|verdict| verdict.for_each(visit));
    }

    fn aged_by(&self, by: u64) -> Option<Self> {
        let mut later = self.clone();
        for verdict in &mut later {
            *verdict = verdict.aged_by(by)?;
        }
        Some(later)
    }

    fn with_origin(self, origin: Origin) -> Self {
        self.map(|verdict| verdict.with_origin(origin))
    }
}

impl<A: Verdict, B: Verdict> Parts for (A, B) {
    type Receipt = (A::Receipt, B::Receipt);

    fn receipt(&self) -> Self::Receipt {
        (self.0.receipt(), self.1.receipt())
    }

    fn for_each_receipt_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.0.for_each_receipt_mut(change);
        self.1.for_each_receipt_mut(change);
    }

    fn for_each(&self, visit: &mut dyn FnMut(&Decision)) {
        self.0.for_each(visit);
        self.1.for_each(visit);
    }

    fn aged_by(&self, by: u64) -> Option<Self> {
        Some((self.0.aged_by(by)?, self.1.aged_by(by)?))
    }

    fn with_origin(self, origin: Origin) -> Self {
        (self.0.with_origin(origin), self.1.with_origin(origin))
    }
}

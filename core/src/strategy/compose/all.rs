//! Several limits of one kind on one key as one: none is charged unless all admit.

#![expect(clippy::indexing_slicing, reason = "an array of N is indexed below N")]

use core::array;

use crate::strategy::compose::composite::Composite;
use crate::strategy::compose::per_limit::PerLimit;
use crate::strategy::math::settle::{is_behind, settle};
use crate::strategy::{CapacityError, Class, Hit, ReceiptOf, ScriptLimit, Strategy};
use crate::{Outcome, Timestamp, Verdict};

/// Combines `N` limits of one type on one key, such as a burst and a sustained rate: all must admit a hit.
///
/// Choose it for limits that count the same cost. Limits of different types, or of different costs, go into a
/// pair: `(a, b)` is a strategy too. No limit is charged unless all admit. The state is the `N` states
/// together.
///
/// ```
/// use traffik::{All, Hit, Strategy, Timestamp, TokenBucket, Verdict, rate};
///
/// let strategy = All([TokenBucket::new(rate!("2/s")), TokenBucket::new(rate!("3/min"))]);
/// let mut state = Default::default();
/// let mut passes = |second: u64| {
///     let at = Timestamp::from_micros(second * 1_000_000);
///     strategy.decide(&mut state, &Hit::new(1), at).outcome().is_allowed()
/// };
/// assert!(passes(0) && passes(0) && !passes(0)); // two at once
/// assert!(passes(1) && !passes(1)); // three in all
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct All<S, const N: usize>(pub [S; N]);

/// The states of `N` limits.
type States<S, const N: usize> = PerLimit<<S as Strategy>::State, N>;

/// The verdicts of `N` limits.
type Verdicts<S, const N: usize> = Composite<[<S as Strategy>::Verdict; N]>;

impl<S: Strategy, const N: usize> All<S, N> {
    /// Calls `ask` with each limit and its state, and returns the answers in their order.
    fn each<T>(&self, states: &States<S, N>, ask: impl Fn(&S, &S::State) -> T) -> [T; N] {
        array::from_fn(|at| ask(&self.0[at], &states.0[at]))
    }

    fn with_mut<'a>(
        &'a self,
        states: &'a mut States<S, N>,
    ) -> impl Iterator<Item = (&'a S, &'a mut S::State)> {
        self.0.iter().zip(&mut states.0)
    }

    /// Reports which limits alone would admit a hit that another one denies.
    ///
    /// Such a limit is not charged, and shows its figures without the hit. A limit that denies may record the
    /// hit as demand, or record a change of the limit.
    #[inline]
    fn spared(&self, states: &States<S, N>, hit: &Hit<S::Cost>, now: Timestamp) -> [bool; N] {
        // Only `is_allowed` is read here, so the compiler drops the other figures.
        let mut admits = self.each(states, |strategy, state| strategy.peek(state, hit, now).is_allowed());
        if admits == [true; N] {
            admits = [false; N];
        }
        admits
    }

    /// Combines the verdicts of all limits.
    #[inline]
    fn settled(
        &self,
        parts: [S::Verdict; N],
        states: &States<S, N>,
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Verdicts<S, N> {
        let each = parts.each_ref().map(Verdict::outcome);
        let behind = || parts.iter().any(|part| is_behind(part, now));
        let outcome = settle(each, behind, now, |at, then| match (self.0.get(at), states.0.get(at)) {
            (Some(strategy), Some(state)) => strategy.peek(state, hit, then).outcome(),
            _ => Outcome::all([]),
        });
        let recorded = parts.iter().any(Verdict::is_dirty);
        Composite { parts, outcome, recorded }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, const N: usize> Strategy for All<S, N> {
    type State = PerLimit<S::State, N>;
    type Cost = S::Cost;
    type Verdict = Verdicts<S, N>;
    type Stat = [S::Stat; N];

    fn decide(&self, states: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> Self::Verdict {
        let (spared, free) = (self.spared(states, hit, now), hit.free());
        let counted = |at: usize| if spared[at] { &free } else { hit };
        let parts = array::from_fn(|at| self.0[at].decide(&mut states.0[at], counted(at), now));
        self.settled(parts, states, hit, now)
    }

    fn peek(&self, states: &Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> Self::Verdict {
        let (spared, free) = (self.spared(states, hit, now), hit.free());
        let counted = |at: usize| if spared[at] { &free } else { hit };
        let parts = array::from_fn(|at| self.0[at].peek(&states.0[at], counted(at), now));
        let verdict = self.settled(parts, states, hit, now);
        if verdict.recorded && !verdict.is_allowed() {
            // A recorded denial may change when the limits will admit, so the wait is computed after it.
            return self.decide(&mut states.clone(), hit, now);
        }
        verdict
    }

    fn charge(&self, states: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) {
        self.with_mut(states).for_each(|(strategy, state)| strategy.charge(state, hit, now));
    }

    fn refund(
        &self,
        states: &mut Self::State,
        hit: &Hit<S::Cost>,
        receipts: ReceiptOf<Self>,
        now: Timestamp,
    ) {
        for ((strategy, state), receipt) in self.with_mut(states).zip(receipts.0) {
            strategy.refund(state, hit, receipt, now);
        }
    }

    fn expires_at(&self, states: &Self::State, class: Class) -> Timestamp {
        let each = self.each(states, |strategy, state| strategy.expires_at(state, class));
        each.into_iter().max().unwrap_or_default()
    }

    fn max_ttl(&self) -> u64 {
        self.0.iter().map(Strategy::max_ttl).max().unwrap_or(0)
    }

    fn rebase(&self, states: &mut Self::State, now: Timestamp) -> bool {
        self.with_mut(states).fold(false, |moved, (strategy, state)| moved | strategy.rebase(state, now))
    }

    #[inline]
    fn records_demand(&self) -> bool {
        self.0.iter().any(Strategy::records_demand)
    }

    fn stat(&self, states: &Self::State, class: Class, now: Timestamp) -> Self::Stat {
        self.each(states, |strategy, state| strategy.stat(state, class, now))
    }

    fn parts_of(&self, hit: &Hit<S::Cost>, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        self.0.iter().all(|strategy| strategy.parts_of(hit, visit))
    }

    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        self.0.iter().for_each(|strategy| strategy.kinds(visit));
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.0.iter().try_for_each(Strategy::fits_script)
    }
}

//! Several limits of one kind on one key as one: none is charged unless all admit.

use core::array;

use crate::strategy::compose::composite::Composite;
use crate::strategy::compose::per_limit::PerLimit;
use crate::strategy::math::settle::{is_behind, settle};
use crate::strategy::{CapacityError, Class, Hit, Part, Strategy, Taken};
use crate::{Outcome, Timestamp, Verdict};

/// `N` limits that count the same cost, such as a burst and a sustained rate.
///
/// Limits of different kinds, or that count different things, go into a pair: `(a, b)` is a strategy too.
///
/// ```
/// use traffik_core::{All, Hit, Strategy, Timestamp, TokenBucket, Verdict, rate};
///
/// let limits = All([TokenBucket::new(rate!("2/s")), TokenBucket::new(rate!("3/min"))]);
/// let mut state = Default::default();
/// let mut passes = |second: u64| {
///     let at = Timestamp::from_micros(second * 1_000_000);
///     limits.decide(&mut state, &Hit::new(1), at).outcome().is_allowed()
/// };
/// assert!(passes(0) && passes(0) && !passes(0)); // two at once
/// assert!(passes(1) && !passes(1)); // three in all
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct All<S, const N: usize>(pub [S; N]);

/// The states of `N` limits.
type States<S, const N: usize> = PerLimit<<S as Strategy>::State, N>;

impl<S: Strategy, const N: usize> All<S, N> {
    /// Calls `ask` with each limit and its state, and keeps the answers in their order.
    #[expect(clippy::indexing_slicing, reason = "an array of N is indexed below N")]
    fn each<T>(&self, states: &States<S, N>, ask: impl Fn(&S, &S::State) -> T) -> [T; N] {
        array::from_fn(|at| ask(&self.0[at], &states.0[at]))
    }

    fn with_mut<'a>(
        &'a self,
        states: &'a mut States<S, N>,
    ) -> impl Iterator<Item = (&'a S, &'a mut S::State)> {
        self.0.iter().zip(&mut states.0)
    }

    /// The verdicts of all limits, and whether one of them records something. Copies no state: a log's may be
    /// large.
    fn judge(&self, states: &States<S, N>, hit: &Hit<S::Cost>, now: Timestamp) -> Composite<[S::Verdict; N]> {
        let parts = self.each(states, |limit, state| limit.peek(state, hit, now));
        let outcome = self.settled(states, hit, &parts, now);
        // A limit that alone would admit is not charged, so it tells what it has without the hit.
        let parts = match outcome.is_allowed() {
            true => parts,
            false => self.each(states, |limit, state| match limit.peek(state, hit, now) {
                alone if alone.is_allowed() => limit.peek(state, &hit.free(), now),
                denied => denied,
            }),
        };
        let recorded = parts.iter().any(Verdict::is_recorded);
        Composite { parts, outcome, recorded }
    }

    /// When all will admit, given what they come to now.
    fn settled(
        &self,
        states: &States<S, N>,
        hit: &Hit<S::Cost>,
        parts: &[S::Verdict; N],
        now: Timestamp,
    ) -> Outcome {
        let first = Outcome::all(parts.iter().map(Verdict::outcome));
        let behind = || parts.iter().any(|part| is_behind(part, now));
        settle(first, behind, now, |at| {
            Outcome::all(self.each(states, |limit, state| limit.peek(state, hit, at).outcome()))
        })
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, const N: usize> Strategy for All<S, N> {
    type State = PerLimit<S::State, N>;
    type Cost = S::Cost;
    type Verdict = Composite<[S::Verdict; N]>;
    type Stat = [S::Stat; N];

    fn decide(&self, states: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> Self::Verdict {
        let mut verdict = self.judge(states, hit, now);
        let all_admit = verdict.is_allowed();
        if !verdict.recorded {
            return verdict;
        }
        for ((limit, state), decision) in self.with_mut(states).zip(&mut verdict.parts) {
            // A denial may be noted, as demand or since a limit has changed. One that alone would admit is
            // charged only if all admit.
            let charged = if all_admit || !decision.is_allowed() { *hit } else { hit.free() };
            *decision = limit.decide(state, &charged, now);
        }
        if !all_admit {
            // What was noted may change when they will admit.
            verdict.outcome = self.settled(states, hit, &verdict.parts, now);
        }
        verdict
    }

    fn peek(&self, states: &Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> Self::Verdict {
        match self.judge(states, hit, now) {
            noted if noted.recorded && !noted.is_allowed() => self.decide(&mut states.clone(), hit, now),
            verdict => verdict,
        }
    }

    fn charge(&self, states: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) {
        self.with_mut(states).for_each(|(limit, state)| limit.charge(state, hit, now));
    }

    fn refund(&self, states: &mut Self::State, hit: &Hit<S::Cost>, receipts: Taken<Self>, now: Timestamp) {
        for ((limit, state), receipt) in self.with_mut(states).zip(receipts.0) {
            limit.refund(state, hit, receipt, now);
        }
    }

    fn fresh_at(&self, states: &Self::State, class: Class) -> Timestamp {
        let each = self.each(states, |limit, state| limit.fresh_at(state, class));
        each.into_iter().max().unwrap_or_default()
    }

    fn horizon(&self) -> u64 {
        self.0.iter().map(Strategy::horizon).max().unwrap_or(0)
    }

    fn rebase(&self, states: &mut Self::State, now: Timestamp) -> bool {
        self.with_mut(states).fold(false, |moved, (limit, state)| moved | limit.rebase(state, now))
    }

    #[inline]
    fn records_demand(&self) -> bool {
        self.0.iter().any(Strategy::records_demand)
    }

    fn stat(&self, states: &Self::State, class: Class, now: Timestamp) -> Self::Stat {
        self.each(states, |limit, state| limit.stat(state, class, now))
    }

    fn parts_of(&self, hit: &Hit<S::Cost>, visit: &mut dyn FnMut(Part)) -> bool {
        self.0.iter().all(|limit| limit.parts_of(hit, visit))
    }

    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        self.0.iter().for_each(|limit| limit.kinds(visit));
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.0.iter().try_for_each(Strategy::fits_script)
    }
}

//! Several limits of one kind on one key as one: none is charged unless all admit.

use core::array;
use core::time::Duration;

use crate::strategy::math::settle::settle;
use crate::strategy::{CapacityError, Class, Corrupt, Hit, Part, Reader, State, Strategy, Writer};
use crate::{Decision, Origin, Outcome, Receipt, Receipts, Timestamp, Verdict};

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

/// The decisions of several limits, and what they come to together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub struct Several<V, const N: usize> {
    /// What each limit says for itself, in their order.
    pub decisions: [V; N],
    outcome: Outcome,
    recorded: bool,
}

impl<V: Verdict, const N: usize> Verdict for Several<V, N> {
    type Receipt = Each<V::Receipt, N>;

    fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn is_recorded(&self) -> bool {
        self.recorded
    }

    fn pressure(&self) -> u8 {
        self.decisions.iter().map(Verdict::pressure).max().unwrap_or(0)
    }

    fn receipt(&self) -> Self::Receipt {
        Each(array::from_fn(|at| self.decisions.get(at).map(Verdict::receipt).unwrap_or_default()))
    }

    fn is_allowed(&self) -> bool {
        self.outcome.is_allowed()
    }

    fn each_receipt(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.decisions.iter_mut().for_each(|decision| decision.each_receipt(change));
    }

    fn each(&self, visit: &mut dyn FnMut(&Decision)) {
        self.decisions.iter().for_each(|decision| decision.each(visit));
    }

    fn later_by_micros(&self, by: u64) -> Option<Self> {
        let mut later = Self { outcome: self.outcome.later_by_micros(by)?, ..self.clone() };
        for decision in &mut later.decisions {
            *decision = decision.later_by_micros(by)?;
        }
        Some(later)
    }

    fn with_origin(self, origin: Origin) -> Self {
        Self { decisions: self.decisions.map(|decision| decision.with_origin(origin)), ..self }
    }
}

/// One of something for each of `N` limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Each<T, const N: usize>(pub [T; N]);

impl<T: Default, const N: usize> Default for Each<T, N> {
    fn default() -> Self {
        Self(array::from_fn(|_| T::default()))
    }
}

impl<T: Receipts, const N: usize> Receipts for Each<T, N> {
    const COUNT: usize = N * T::COUNT;

    fn each(&self, visit: &mut dyn FnMut(Receipt)) {
        self.0.iter().for_each(|receipt| receipt.each(visit));
    }

    fn each_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.0.iter_mut().for_each(|receipt| receipt.each_mut(change));
    }

    fn gather(next: &mut dyn FnMut() -> Receipt) -> Self {
        Self(array::from_fn(|_| T::gather(next)))
    }
}

impl<T: State, const N: usize> State for Each<T, N> {
    const MAX_LEN: usize = N * T::MAX_LEN;

    fn encode(&self, out: &mut Writer<'_>) {
        self.0.iter().for_each(|state| state.encode(out));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut states = Self::default();
        for state in &mut states.0 {
            *state = T::decode(input)?;
        }
        Ok(states)
    }
}

impl<S: Strategy, const N: usize> All<S, N> {
    /// Calls `ask` with each limit and its state, and keeps the answers in their order.
    #[expect(clippy::indexing_slicing, reason = "an array of N is indexed below N")]
    fn each<T>(&self, states: &Each<S::State, N>, ask: impl Fn(&S, &S::State) -> T) -> [T; N] {
        array::from_fn(|at| ask(&self.0[at], &states.0[at]))
    }

    fn with_mut<'a>(
        &'a self,
        states: &'a mut Each<S::State, N>,
    ) -> impl Iterator<Item = (&'a S, &'a mut S::State)> {
        self.0.iter().zip(&mut states.0)
    }

    /// What all limits say, without the demand that a denial may record. Copies no state: a log's may be large.
    fn judge(
        &self,
        states: &Each<S::State, N>,
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Several<S::Verdict, N> {
        let decisions = self.each(states, |limit, state| limit.peek(state, hit, now));
        let outcome = self.settled(states, hit, together(&decisions), now);
        if outcome.is_allowed() {
            let recorded = decisions.iter().any(Verdict::is_recorded);
            return Several { decisions, outcome, recorded };
        }
        // A limit that alone would admit is not charged, so it tells what it has without the hit.
        let decisions = self.each(states, |limit, state| match limit.peek(state, hit, now) {
            alone if alone.outcome().is_allowed() => limit.peek(state, &hit.free(), now),
            denied => denied,
        });
        Several { decisions, outcome, recorded: false }
    }

    /// When all will admit, given what they come to now.
    fn settled(
        &self,
        states: &Each<S::State, N>,
        hit: &Hit<S::Cost>,
        first: Outcome,
        now: Timestamp,
    ) -> Outcome {
        settle(first, now, |at| together(&self.each(states, |limit, state| limit.peek(state, hit, at))))
    }
}

/// The outcome of limits that must all admit.
fn together<'a, V: Verdict>(decisions: impl IntoIterator<Item = &'a V>) -> Outcome {
    let outcomes = decisions.into_iter().map(Verdict::outcome);
    outcomes.fold(Outcome::Allow { after: Duration::ZERO }, Outcome::and)
}

impl<S: Strategy, const N: usize> Strategy for All<S, N> {
    type State = Each<S::State, N>;
    type Cost = S::Cost;
    type Verdict = Several<S::Verdict, N>;
    type Stat = [S::Stat; N];

    fn decide(&self, states: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> Self::Verdict {
        let mut verdict = self.judge(states, hit, now);
        verdict.recorded = false;
        let all_admit = verdict.outcome.is_allowed();
        for ((limit, state), decision) in self.with_mut(states).zip(&mut verdict.decisions) {
            // A limit that denies is run all the same: it may keep count of demand. One that alone would admit is
            // run only if all admit.
            if all_admit || !decision.outcome().is_allowed() {
                *decision = limit.decide(state, hit, now);
                verdict.recorded |= decision.is_recorded();
            }
        }
        if verdict.recorded && !all_admit {
            // Demand that was noted may change when they will admit.
            verdict.outcome = self.settled(states, hit, together(&verdict.decisions), now);
        }
        verdict
    }

    fn peek(&self, states: &Self::State, hit: &Hit<S::Cost>, now: Timestamp) -> Self::Verdict {
        if self.records_demand() {
            self.decide(&mut states.clone(), hit, now)
        } else {
            self.judge(states, hit, now)
        }
    }

    fn charge(&self, states: &mut Self::State, hit: &Hit<S::Cost>, now: Timestamp) {
        self.with_mut(states).for_each(|(limit, state)| limit.charge(state, hit, now));
    }

    fn refund(
        &self,
        states: &mut Self::State,
        hit: &Hit<S::Cost>,
        receipts: <Self::Verdict as Verdict>::Receipt,
        now: Timestamp,
    ) {
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

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.0.iter().try_for_each(Strategy::fits_script)
    }
}

//! Two limits on one key as one: neither is charged unless both admit.

use crate::strategy::math::settle::settle;
use crate::strategy::{CapacityError, Class, Corrupt, Hit, Part, Reader, State, Strategy, Writer};
use crate::{Decision, Origin, Outcome, Receipt, Timestamp, Verdict};

/// The decisions of two limits, and what they come to together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use]
pub struct Both<A, B> {
    /// What the first limit says for itself.
    pub first: A,
    /// What the second limit says for itself.
    pub second: B,
    outcome: Outcome,
    recorded: bool,
}

impl<A: Verdict, B: Verdict> Verdict for Both<A, B> {
    type Receipt = (A::Receipt, B::Receipt);

    fn outcome(&self) -> Outcome {
        self.outcome
    }

    fn is_recorded(&self) -> bool {
        self.recorded
    }

    fn pressure(&self) -> u8 {
        self.first.pressure().max(self.second.pressure())
    }

    fn receipt(&self) -> Self::Receipt {
        (self.first.receipt(), self.second.receipt())
    }

    fn is_allowed(&self) -> bool {
        self.outcome.is_allowed()
    }

    fn each_receipt(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.first.each_receipt(change);
        self.second.each_receipt(change);
    }

    fn each(&self, visit: &mut dyn FnMut(&Decision)) {
        self.first.each(visit);
        self.second.each(visit);
    }

    fn later_by_micros(&self, by: u64) -> Option<Self> {
        let (first, second) = (self.first.later_by_micros(by)?, self.second.later_by_micros(by)?);
        Some(Self { first, second, outcome: self.outcome.later_by_micros(by)?, recorded: self.recorded })
    }

    fn with_origin(self, origin: Origin) -> Self {
        Self { first: self.first.with_origin(origin), second: self.second.with_origin(origin), ..self }
    }
}

impl<A: Verdict, B: Verdict> Both<A, B> {
    /// Whether both limits admit the hit.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.outcome.is_allowed()
    }
}

impl<A: State, B: State> State for (A, B) {
    const MAX_LEN: usize = A::MAX_LEN + B::MAX_LEN;

    fn encode(&self, out: &mut Writer<'_>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

/// ```
/// use traffik_core::{FixedWindow, Hit, Strategy, Timestamp, TokenBucket, rate};
///
/// // A burst limit on messages and a sustained one on bytes.
/// let both = (TokenBucket::new(rate!("2/s")), FixedWindow::new(rate!("1000/min")));
/// let mut state = Default::default();
/// let mut send = |bytes| both.decide(&mut state, &Hit::new((1, bytes)), Timestamp::EPOCH);
///
/// assert!(send(900).is_allowed());
/// let denied = send(200);
/// assert!(!denied.is_allowed());
/// assert!(denied.first.is_allowed()); // the message alone would have passed,
/// assert_eq!(denied.first.remaining(), 1); // and was not charged
/// assert_eq!(send(100).first.remaining(), 0);
/// ```
impl<A: Strategy, B: Strategy> Strategy for (A, B) {
    type State = (A::State, B::State);
    type Cost = (A::Cost, B::Cost);
    type Verdict = Both<A::Verdict, B::Verdict>;
    type Stat = (A::Stat, B::Stat);

    fn decide(&self, state: &mut Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict {
        let (a, b) = split(hit);
        let mut verdict = self.judge(state, hit, now);
        let (admits, admits_too) =
            (verdict.first.outcome().is_allowed(), verdict.second.outcome().is_allowed());
        verdict.recorded = false;
        // A limit that denies is run all the same: it may keep count of demand. One that alone would admit is run
        // only if the other admits too.
        if admits_too || !admits {
            verdict.first = self.0.decide(&mut state.0, &a, now);
            verdict.recorded |= verdict.first.is_recorded();
        }
        if admits || !admits_too {
            verdict.second = self.1.decide(&mut state.1, &b, now);
            verdict.recorded |= verdict.second.is_recorded();
        }
        if verdict.recorded && !verdict.outcome.is_allowed() {
            // Demand that was noted may change when they will admit.
            verdict.outcome =
                self.settled(state, hit, verdict.first.outcome().and(verdict.second.outcome()), now);
        }
        verdict
    }

    fn peek(&self, state: &Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict {
        if self.records_demand() {
            self.decide(&mut state.clone(), hit, now)
        } else {
            self.judge(state, hit, now)
        }
    }

    fn charge(&self, state: &mut Self::State, hit: &Hit<Self::Cost>, now: Timestamp) {
        let (first, second) = split(hit);
        self.0.charge(&mut state.0, &first, now);
        self.1.charge(&mut state.1, &second, now);
    }

    fn refund(
        &self,
        state: &mut Self::State,
        hit: &Hit<Self::Cost>,
        receipt: <Self::Verdict as Verdict>::Receipt,
        now: Timestamp,
    ) {
        let (first, second) = split(hit);
        self.0.refund(&mut state.0, &first, receipt.0, now);
        self.1.refund(&mut state.1, &second, receipt.1, now);
    }

    #[inline]
    fn fresh_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.0.fresh_at(&state.0, class).max(self.1.fresh_at(&state.1, class))
    }

    fn horizon(&self) -> u64 {
        self.0.horizon().max(self.1.horizon())
    }

    #[inline]
    fn records_demand(&self) -> bool {
        self.0.records_demand() || self.1.records_demand()
    }

    fn stat(&self, state: &Self::State, class: Class, now: Timestamp) -> Self::Stat {
        (self.0.stat(&state.0, class, now), self.1.stat(&state.1, class, now))
    }

    fn parts_of(&self, hit: &Hit<Self::Cost>, visit: &mut dyn FnMut(Part)) -> bool {
        let (first, second) = split(hit);
        self.0.parts_of(&first, visit) && self.1.parts_of(&second, visit)
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.0.fits_script()?;
        self.1.fits_script()
    }
}

/// Deciding on two states without touching either, nor copying them: a log's may be large.
trait Judge: Strategy {
    /// What both limits say; without the demand that a denial may record.
    fn judge(&self, state: &Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict;

    /// When both will admit, given what they say for themselves.
    fn settled(&self, state: &Self::State, hit: &Hit<Self::Cost>, first: Outcome, now: Timestamp) -> Outcome;
}

impl<A: Strategy, B: Strategy> Judge for (A, B) {
    fn judge(&self, state: &Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict {
        let (a, b) = split(hit);
        let (first, second) = (self.0.peek(&state.0, &a, now), self.1.peek(&state.1, &b, now));
        let outcome = self.settled(state, hit, first.outcome().and(second.outcome()), now);
        if outcome.is_allowed() {
            let recorded = first.is_recorded() || second.is_recorded();
            return Both { first, second, outcome, recorded };
        }
        // A limit that alone would admit is not charged, so it tells what it has without the hit.
        let first = if first.outcome().is_allowed() { self.0.peek(&state.0, &a.free(), now) } else { first };
        let second =
            if second.outcome().is_allowed() { self.1.peek(&state.1, &b.free(), now) } else { second };
        Both { first, second, outcome, recorded: false }
    }

    fn settled(&self, state: &Self::State, hit: &Hit<Self::Cost>, first: Outcome, now: Timestamp) -> Outcome {
        let (a, b) = split(hit);
        settle(first, now, |at| {
            self.0.peek(&state.0, &a, at).outcome().and(self.1.peek(&state.1, &b, at).outcome())
        })
    }
}

fn split<A: Copy, B: Copy>(hit: &Hit<(A, B)>) -> (Hit<A>, Hit<B>) {
    (Hit { cost: hit.cost.0, class: hit.class }, Hit { cost: hit.cost.1, class: hit.class })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::{FixedWindow, Gcra, Rate};

    #[test]
    fn neither_is_charged_unless_both_admit() {
        let limits = (Gcra::new(Rate::per_second(1)), FixedWindow::new(Rate::per_minute(1)));
        let mut state = Default::default();
        let at = |second| Timestamp::from_micros(second * 1_000_000);
        assert!(limits.decide(&mut state, &Hit::new((1, 1)), at(0)).is_allowed());
        let before = state;
        for second in 0..60 {
            let denied = limits.decide(&mut state, &Hit::new((1, 1)), at(second));
            assert_eq!(denied.outcome(), Outcome::Deny { retry_after: Duration::from_secs(60 - second) });
            assert_eq!((state, denied.is_recorded()), (before, false));
        }
        assert!(limits.decide(&mut state, &Hit::new((1, 1)), at(60)).is_allowed());
    }

    #[test]
    fn a_cost_of_zero_leaves_a_limit_out() {
        let limits = (Gcra::new(Rate::per_second(1)), FixedWindow::new(Rate::per_minute(1)));
        let mut state = Default::default();
        for _ in 0..3 {
            let _ = limits.decide(&mut state, &Hit::new((0, 1)), Timestamp::EPOCH);
        }
        assert!(limits.peek(&state, &Hit::new((1, 0)), Timestamp::EPOCH).is_allowed());
    }
}

//! Two limits on one key as one: neither is charged unless both admit.

use crate::strategy::compose::composite::Composite;
use crate::strategy::math::settle::{is_behind, settle};
use crate::strategy::{
    CapacityError, Class, DecodeError, Hit, Reader, ReceiptOf, ScriptLimit, State, Strategy, Writer,
};
use crate::{Timestamp, Verdict};

impl<A: State, B: State> State for (A, B) {
    const FRESH: Self = (A::FRESH, B::FRESH);
    const MAX_LEN: usize = A::MAX_LEN + B::MAX_LEN;

    fn encode(&self, out: &mut Writer<'_>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

/// Combines two limits on one key, of different types or costs: both must admit a hit for either to be
/// charged.
///
/// A hit has a cost for each of them. A cost of 0 leaves a limit out.
///
/// ```
/// use traffik::{FixedWindow, Hit, Strategy, Timestamp, TokenBucket, rate};
///
/// // A burst limit on messages and a sustained one on bytes.
/// let strategy = (TokenBucket::new(rate!("2/s")), FixedWindow::new(rate!("1000/min")));
/// let mut state = Default::default();
/// let mut send = |bytes| strategy.decide(&mut state, &Hit::new((1, bytes)), Timestamp::EPOCH);
///
/// assert!(send(900).is_allowed());
/// let denied = send(200);
/// assert!(!denied.is_allowed());
/// assert!(denied.parts.0.is_allowed()); // the message alone would have passed,
/// assert_eq!(denied.parts.0.remaining(), 1); // and was not charged
/// assert_eq!(send(100).parts.0.remaining(), 0);
/// ```
#[deny(clippy::missing_trait_methods)]
impl<A: Strategy, B: Strategy> Strategy for (A, B) {
    type State = (A::State, B::State);
    type Cost = (A::Cost, B::Cost);
    type Verdict = Composite<(A::Verdict, B::Verdict)>;
    type Stat = (A::Stat, B::Stat);

    fn decide(&self, state: &mut Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict {
        let (a, b) = counted(self, state, hit, now);
        let parts = (self.0.decide(&mut state.0, &a, now), self.1.decide(&mut state.1, &b, now));
        settled(self, parts, state, hit, now)
    }

    fn peek(&self, state: &Self::State, hit: &Hit<Self::Cost>, now: Timestamp) -> Self::Verdict {
        let (a, b) = counted(self, state, hit, now);
        let parts = (self.0.peek(&state.0, &a, now), self.1.peek(&state.1, &b, now));
        let verdict = settled(self, parts, state, hit, now);
        if verdict.recorded && !verdict.is_allowed() {
            // A recorded denial may change when the limits will admit, so the wait is computed after it.
            return self.decide(&mut state.clone(), hit, now);
        }
        verdict
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
        receipt: ReceiptOf<Self>,
        now: Timestamp,
    ) {
        let (first, second) = split(hit);
        self.0.refund(&mut state.0, &first, receipt.0, now);
        self.1.refund(&mut state.1, &second, receipt.1, now);
    }

    #[inline]
    fn expires_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.0.expires_at(&state.0, class).max(self.1.expires_at(&state.1, class))
    }

    fn max_ttl(&self) -> u64 {
        self.0.max_ttl().max(self.1.max_ttl())
    }

    fn rebase(&self, state: &mut Self::State, now: Timestamp) -> bool {
        self.0.rebase(&mut state.0, now) | self.1.rebase(&mut state.1, now)
    }

    #[inline]
    fn records_demand(&self) -> bool {
        self.0.records_demand() || self.1.records_demand()
    }

    fn stat(&self, state: &Self::State, class: Class, now: Timestamp) -> Self::Stat {
        (self.0.stat(&state.0, class, now), self.1.stat(&state.1, class, now))
    }

    fn parts_of(&self, hit: &Hit<Self::Cost>, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let (first, second) = split(hit);
        self.0.parts_of(&first, visit) && self.1.parts_of(&second, visit)
    }

    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        self.0.kinds(visit);
        self.1.kinds(visit);
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.0.fits_script()?;
        self.1.fits_script()
    }
}

/// Returns the hit as each limit counts it.
///
/// Unless both admit the hit, a limit that alone would admit it counts it at cost 0, and shows its figures
/// without the hit. A limit that denies may record the hit as demand, or record a change of the limit. No
/// state is copied, for that of a log may be large.
#[inline]
fn counted<A: Strategy, B: Strategy>(
    limits: &(A, B),
    state: &(A::State, B::State),
    hit: &Hit<(A::Cost, B::Cost)>,
    now: Timestamp,
) -> (Hit<A::Cost>, Hit<B::Cost>) {
    let (a, b) = split(hit);
    // Only `is_allowed` is read here, so the compiler drops the other figures.
    let first = limits.0.peek(&state.0, &a, now).is_allowed();
    let second = limits.1.peek(&state.1, &b, now).is_allowed();
    (if first && !second { a.free() } else { a }, if second && !first { b.free() } else { b })
}

/// Combines the verdicts of both limits.
#[inline]
fn settled<A: Strategy, B: Strategy>(
    limits: &(A, B),
    parts: (A::Verdict, B::Verdict),
    state: &(A::State, B::State),
    hit: &Hit<(A::Cost, B::Cost)>,
    now: Timestamp,
) -> Composite<(A::Verdict, B::Verdict)> {
    let (a, b) = split(hit);
    let behind = || is_behind(&parts.0, now) || is_behind(&parts.1, now);
    let outcome = settle([parts.0.outcome(), parts.1.outcome()], behind, now, |at, then| match at {
        0 => limits.0.peek(&state.0, &a, then).outcome(),
        _ => limits.1.peek(&state.1, &b, then).outcome(),
    });
    let recorded = parts.0.is_dirty() || parts.1.is_dirty();
    Composite { parts, outcome, recorded }
}

fn split<A: Copy, B: Copy>(hit: &Hit<(A, B)>) -> (Hit<A>, Hit<B>) {
    (Hit { cost: hit.cost.0, class: hit.class }, Hit { cost: hit.cost.1, class: hit.class })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::{FixedWindow, Gcra, Outcome, Rate};

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
            assert_eq!((state, denied.is_dirty()), (before, false));
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

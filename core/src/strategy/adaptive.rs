//! Adaptive: fixed windows whose limit falls under load and recovers when it has gone.

use super::report::report;
use super::{Bounds, Class, Corrupt, FixedWindow, Hit, Reader, Scale, State, Strategy, TooLarge, Writer};
use crate::decision::{Figures, Quotient};
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

mod parameters;
pub use parameters::AdaptiveError;

/// Counts hits in windows of one period, aligned to the clock, at most `factor · limit` in each.
///
/// The factor starts at 1 and changes only from one window to the next:
///
/// * A window was loaded if its *demand* reached the threshold times the limit. Then the factor is
///   multiplied by the reduction, but stays at the floor or above.
/// * Else it recovers by the recovery, up to 1. So it does for every silent window.
///
/// The demand of a window is what it admitted, or, if it denied anything, the use that it was on course for: at
/// its first denial what was used, times the period over the time since the window began, and no less than that
/// with the denied cost. It is noted once per window; denials cost nothing else.
///
/// Demand is measured against the limit itself and not against the reduced one. So a client that uses just what
/// it is left with lets the factor recover, and so does one that asks steadily for less than the threshold of
/// the full limit, while one that presses on keeps it at the floor. (To ask for more than is left right when a
/// window begins is to press on: what would have followed cannot be known.)
///
/// A [load](Self::load) told from outside counts as that of the window before, for the request it is told with.
///
/// In each window it admits at most the limit, and at least `max(1, ⌊floor · limit⌋)` but for what is left over
/// when the next whole cost no longer fits. The factor is counted in millionths and rounded down. A refund takes
/// back what was counted, but not a change of the factor.
///
/// By default the threshold is 0.8, the reduction 0.6, the recovery 0.1 and the floor 0.3. 10 per minute:
///
/// | at | cost | decided | remaining | |
/// |---|---|---|---|---|
/// | 0 s | 8 | allow | 2 | loaded |
/// | 60 s | 6 | allow | 0 | 0.6 of 10 |
/// | 80 s | 1 | deny, retry after 40 s | 0 | on course for 18 |
/// | 120 s | 3 | allow | 0 | 0.36 of 10 |
/// | 180 s | 4 | allow | 0 | 0.46 of 10 |
/// | 540 s | 10 | allow | 0 | recovered by 0.1 in each of six windows |
///
/// ```
/// use core::time::Duration;
/// use traffik_core::{Adaptive, Hit, Strategy, Timestamp, rate};
///
/// let adaptive = Adaptive::new(rate!("10/min"));
/// let mut state = Default::default();
/// let mut at = |second: u64, cost| {
///     adaptive.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(second * 1_000_000))
/// };
///
/// assert_eq!(at(0, 8).remaining(), 2);
/// assert_eq!(at(60, 6).remaining(), 0);
/// assert_eq!(at(80, 1).retry_after(), Some(Duration::from_secs(40)));
/// assert_eq!(at(120, 3).remaining(), 0);
/// assert_eq!(at(180, 4).remaining(), 0);
/// assert_eq!(at(540, 10).remaining(), 0);
/// ```
///
/// Source: additive increase and multiplicative decrease, D.-M. Chiu and R. Jain, "Analysis of the increase and
/// decrease algorithms for congestion avoidance in computer networks", Computer Networks and ISDN Systems
/// 17(1), 1989.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    windows: FixedWindow,
    threshold: u32,
    reduction: u32,
    recovery: u32,
    floor: u32,
    load: Ratio,
}

/// A factor of 1: factors are counted in millionths.
const WHOLE: u32 = 1_000_000;

/// The state of an adaptive limit: the window that holds the last hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdaptiveState {
    /// The time of the last hit that was booked or noted.
    at: Timestamp,
    used: u32,
    /// The use that the window was on course for at its first denial; 0 if there was none.
    demand: u32,
    /// What the factor lacks to 1, in millionths.
    lack: u32,
}

/// An adaptive limit's own figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AdaptiveStat {
    /// When the present window began.
    pub window_start: Timestamp,
    /// When it ends, and the next one begins.
    pub window_end: Timestamp,
    /// What has been used in it.
    pub used: u32,
    /// How much may be used in it.
    pub effective_limit: u32,
    /// Its demand so far over the limit, or the load told from outside if that is more.
    pub current_load: Ratio,
    /// The effective limit over the limit, before rounding.
    pub factor: Ratio,
}

report!(AdaptiveStat: window_start, window_end, used, effective_limit, current_load, factor);

impl AdaptiveState {
    fn new(at: Timestamp, used: u32, demand: u32, lack: u32) -> Self {
        if used == 0 && demand == 0 && lack == 0 { Self::default() } else { Self { at, used, demand, lack } }
    }
}

/// Names this form of state, version 1.
const TAG: u8 = 0x31;

impl State for AdaptiveState {
    const MAX_LEN: usize = 1 + 8 + 3 * 4;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(TAG);
        out.u64(self.at.as_micros());
        for value in [self.used, self.demand, self.lack] {
            out.u32(value);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        input.tag(TAG)?;
        let at = Timestamp::from_micros(input.u64()?);
        let state = Self::new(at, input.u32()?, input.u32()?, input.u32()?);
        // Nothing to remember is always written as the state never used.
        if state.at == at && state.lack <= WHOLE { Ok(state) } else { Err(Corrupt) }
    }
}

impl Adaptive {
    /// The limit of `rate` in each window, and the default parameters.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self {
            windows: FixedWindow::new(rate),
            threshold: 800_000,
            reduction: 600_000,
            recovery: 100_000,
            floor: 300_000,
            load: Ratio::ZERO,
        }
    }

    /// The same limit under a load known from outside, such as that of a processor: cheap to make anew for
    /// every request. From the threshold on a window that begins counts as following a loaded one, also for a
    /// key never seen; a cost above what that leaves can not pass while the load lasts.
    #[must_use]
    pub const fn load(self, load: Ratio) -> Self {
        Self { load, ..self }
    }

    /// The rate whose limit holds without load.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.windows.rate()
    }

    fn is_loaded_from_outside(&self) -> bool {
        let (load, threshold) = (u128::from(self.load.num()), u128::from(self.threshold));
        // No load is below every threshold.
        load > 0 && load * u128::from(WHOLE) >= threshold * u128::from(self.load.den())
    }

    /// Whether the window of this state was loaded.
    fn is_loaded(&self, state: AdaptiveState) -> bool {
        let demand = u64::from(state.used.max(state.demand));
        demand * u64::from(WHOLE) >= u64::from(self.threshold) * u64::from(self.rate().limit())
    }

    /// How much may be used in a window at this factor: at least 1, unless nothing may ever be.
    fn effective(&self, factor: u32) -> u32 {
        let limit = self.rate().limit();
        let scaled = u64::from(limit) * u64::from(factor) / u64::from(WHOLE);
        // A factor is at most 1, so this fits.
        (scaled as u32).max(limit.min(1))
    }

    fn reduced(&self, factor: u32) -> u32 {
        let reduced = u64::from(factor) * u64::from(self.reduction) / u64::from(WHOLE);
        (reduced as u32).max(self.floor)
    }

    fn recovered(&self, factor: u32, windows: u64) -> u32 {
        let recovered = u64::from(self.recovery).saturating_mul(windows).saturating_add(factor.into());
        recovered.min(WHOLE.into()) as u32
    }

    /// The factor of a window that follows silence, as that of a key never seen.
    fn rested(&self) -> u32 {
        if self.is_loaded_from_outside() { self.reduced(WHOLE) } else { WHOLE }
    }

    /// The factor some windows after that of a state, without what is told from outside.
    fn own_factor(&self, state: AdaptiveState, windows: u64) -> u32 {
        let factor = WHOLE.saturating_sub(state.lack);
        match windows {
            0 => factor,
            _ if self.is_loaded(state) => self.recovered(self.reduced(factor), windows - 1),
            _ => self.recovered(factor, windows),
        }
    }

    /// The factor some windows after that of a state, if nothing else happens until then.
    fn factor(&self, state: AdaptiveState, windows: u64) -> u32 {
        if windows > 0 && self.is_loaded_from_outside() {
            self.reduced(self.own_factor(state, windows - 1))
        } else {
            self.own_factor(state, windows)
        }
    }

    /// How many windows after that of a state, at least one, the factor alone has come back to `factor`, which
    /// is at most 1.
    fn windows_until(&self, state: AdaptiveState, factor: u32) -> u64 {
        let missing = factor.saturating_sub(self.own_factor(state, 1));
        if missing == 0 { 1 } else { 1 + u64::from(missing.div_ceil(self.recovery.max(1))) }
    }

    /// Brings a state to the window that holds the time it decides at; tells that window's end too.
    #[inline]
    fn present(&self, state: AdaptiveState, now: Timestamp) -> (AdaptiveState, Timestamp) {
        let at = now.max(state.at);
        let (start, end) = self.windows.window(at);
        let present = if state == AdaptiveState::default() {
            AdaptiveState { at, lack: WHOLE - self.rested(), ..state }
        } else if state.at >= start {
            AdaptiveState { at, ..state }
        } else {
            let (since, _) = self.windows.window(state.at);
            let windows = self.windows.periods(start.micros_since(since));
            AdaptiveState { at, used: 0, demand: 0, lack: WHOLE - self.factor(state, windows).min(WHOLE) }
        };
        (present, end)
    }

    /// The beginning of a window some windows after one that ends at `end`, at least one.
    fn window_after(&self, end: Timestamp, windows: u64) -> Timestamp {
        end.plus_micros(self.rate().period_micros().saturating_mul(windows.saturating_sub(1)))
    }

    /// The use that a window is on course for in which this much is used by now: at least what would be used
    /// with what is asked for.
    fn course(&self, at: Timestamp, used: u32, asked: u64) -> u32 {
        let elapsed = u128::from(at.micros_since(self.windows.window(at).0)).max(1);
        let course = u128::from(used) * u128::from(self.rate().period_micros()) / elapsed;
        u32::try_from(course.max(asked.into())).unwrap_or(u32::MAX)
    }

    /// Until when a state of the present window, which ends at `end`, has to wait for this cost, once it is denied.
    fn wait(&self, state: AdaptiveState, end: Timestamp, cost: u32) -> Timestamp {
        if cost <= self.effective(self.factor(state, 1)) {
            return end;
        }
        let of_whole = |part: u32, whole: u32| {
            let factor = (u64::from(part) * u64::from(WHOLE)).div_ceil(whole.max(1).into());
            u32::try_from(factor).unwrap_or(WHOLE).min(WHOLE)
        };
        let needed = of_whole(cost, self.rate().limit());
        let windows = if self.is_loaded_from_outside() {
            1 + self.windows_until(state, of_whole(needed, self.reduction))
        } else {
            self.windows_until(state, needed)
        };
        self.window_after(end, windows)
    }

    /// When a state whose window ends at `end` is fresh.
    fn fresh(&self, state: AdaptiveState, end: Timestamp) -> Timestamp {
        if state == AdaptiveState::default() {
            return state.at;
        }
        let whole = self.windows_until(state, WHOLE);
        let windows = if !self.is_loaded_from_outside() || (whole == 1 && state.lack == 0) {
            whole
        } else if self.reduction > self.floor {
            // Reduced once more, any other factor than 1 would show for one window longer.
            whole + 1
        } else if state.used > 0 || state.demand > 0 || self.own_factor(state, 0) != self.rested() {
            1
        } else {
            return state.at;
        };
        self.window_after(end, windows)
    }

    /// From one time to another, counted from a present that may lie behind the first.
    fn span(&self, from: Timestamp, to: Timestamp, now: Timestamp) -> Quotient {
        let behind = from.micros_since(now).min(self.horizon());
        Quotient::whole(to.micros_since(from).saturating_add(behind))
    }
}

impl Strategy for Adaptive {
    type State = AdaptiveState;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = AdaptiveStat;

    const RECORDS_DEMAND: bool = true;

    fn decide(&self, state: &mut AdaptiveState, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate().is_unlimited() {
            return Decision::unlimited();
        }
        let (present, end) = self.present(*state, now);
        let limit = self.effective(WHOLE - present.lack);
        // What is not booked has an end of its own.
        let of_state = |state: &AdaptiveState| {
            if state.at == present.at { end } else { self.windows.window(state.at).1 }
        };
        let figures = |state: &AdaptiveState, used: u32| Figures {
            limit,
            window: self.rate().period_micros(),
            remaining: Quotient::whole(limit.saturating_sub(used).into()),
            reset: match self.fresh(*state, of_state(state)) {
                past if past <= present.at => Quotient::ZERO,
                fresh_at => self.span(present.at, fresh_at, now),
            },
            receipt: Receipt::new(present.at),
        };
        if hit.cost == 0 {
            return figures(state, present.used).allow(false);
        }
        let used = u64::from(present.used) + u64::from(hit.cost);
        if used > limit.into() {
            if hit.cost > self.effective(self.rested()) {
                return figures(state, present.used).never();
            }
            let is_first = present.demand == 0;
            if is_first {
                *state = AdaptiveState { demand: self.course(present.at, present.used, used), ..present };
            }
            let then = self.wait(*state, of_state(state), hit.cost);
            let wait = self.span(present.at, then, now);
            return figures(state, present.used).deny(wait).recorded(is_first);
        }
        // At most the limit.
        let used = used as u32;
        *state = AdaptiveState { used, ..present };
        figures(state, used).allow(true)
    }

    fn charge(&self, state: &mut AdaptiveState, hit: &Hit, now: Timestamp) {
        if !self.rate().is_unlimited() && hit.cost > 0 {
            let (present, _) = self.present(*state, now);
            *state = AdaptiveState { used: present.used.saturating_add(hit.cost), ..present };
        }
    }

    /// Takes the cost back if the window it was booked in is still the state's own.
    fn refund(&self, state: &mut AdaptiveState, hit: &Hit, receipt: Receipt, _: Timestamp) {
        if self.windows.window(state.at) == self.windows.window(receipt.at) {
            let used = state.used.saturating_sub(hit.cost);
            *state = AdaptiveState::new(state.at, used, state.demand, state.lack);
        }
    }

    fn fresh_at(&self, state: &AdaptiveState, _: Class) -> Timestamp {
        self.fresh(*state, self.windows.window(state.at).1)
    }

    fn horizon(&self) -> u64 {
        let recovery = u64::from(WHOLE.div_ceil(self.recovery.max(1)));
        self.rate().period_micros().saturating_mul(recovery + 2)
    }

    fn stat(&self, state: &AdaptiveState, _: Class, now: Timestamp) -> AdaptiveStat {
        let (present, window_end) = self.present(*state, now);
        let (window_start, _) = self.windows.window(present.at);
        let demand = u64::from(present.used.max(present.demand));
        let own = Ratio::new(demand, self.rate().limit().max(1).into()).unwrap_or(Ratio::ZERO);
        let factor = WHOLE - present.lack.min(WHOLE);
        AdaptiveStat {
            window_start,
            window_end,
            used: present.used,
            effective_limit: if self.rate().is_unlimited() { u32::MAX } else { self.effective(factor) },
            current_load: own.max(self.load),
            factor: Ratio::new(factor.into(), WHOLE.into()).unwrap_or(Ratio::ONE),
        }
    }
}

/// The rate changes; the parameters and the load stay what they are.
impl Scale for Adaptive {
    fn scaled(&self, ratio: Ratio) -> Result<Self, TooLarge> {
        Ok(Self { windows: self.windows.scaled(ratio)?, ..*self })
    }
}

impl Bounds for Adaptive {
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        self.windows.most(first, last)
    }

    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        let (cost, limit) = (cost.max(1), self.rate().limit());
        let windows = self.windows.most(first, last).checked_div(limit.into()).unwrap_or(0);
        windows.saturating_mul((self.effective(self.floor) / cost * cost).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    fn second(second: u64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn ratio(text: &str) -> Ratio {
        text.parse().unwrap()
    }

    fn hundred() -> Adaptive {
        Adaptive::new(Rate::per_minute(100))
    }

    /// Asks so often in each minute, evenly, and tells the effective limit after it.
    fn minutes(
        limit: Adaptive,
        state: &mut AdaptiveState,
        minutes: core::ops::Range<u64>,
        hits: u64,
    ) -> Vec<u32> {
        let minute = |minute| {
            for hit in 0..hits {
                let at = Timestamp::from_micros(minute * 60_000_000 + hit * 60_000_000 / hits);
                let _ = limit.decide(state, &Hit::new(1), at);
            }
            limit.stat(state, Class::default(), second((minute + 1) * 60)).effective_limit
        };
        minutes.map(minute).collect()
    }

    #[test]
    fn the_limit_falls_once_per_window_down_to_its_floor() {
        let mut state = AdaptiveState::default();
        assert_eq!(minutes(hundred(), &mut state, 0..5, 400), [60, 36, 30, 30, 30]);
        let stat = hundred().stat(&state, Class::default(), second(299));
        assert_eq!((stat.used, stat.effective_limit, stat.factor), (30, 30, ratio("3/10")));
        assert!(stat.current_load >= ratio("399/100"), "{}", stat.current_load);
    }

    /// Defect 19 of the original: the limit always ended at its floor.
    #[test]
    fn defect_19_normal_traffic_recovers_from_the_floor() {
        for normal in [10, 30, 50, 79] {
            let mut state = AdaptiveState::default();
            let _ = minutes(hundred(), &mut state, 0..5, 400);
            let recovering = minutes(hundred(), &mut state, 5..12, normal);
            assert_eq!(recovering, [40, 50, 60, 70, 80, 90, 100], "{normal} a minute");
            assert_eq!(minutes(hundred(), &mut state, 12..40, normal), [100; 28]);
        }
        let mut state = AdaptiveState::default();
        let _ = minutes(hundred(), &mut state, 0..5, 400);
        for minute in 5..12 {
            // Whatever it is left with, and all at once.
            let left = hundred().stat(&state, Class::default(), second(minute * 60)).effective_limit;
            assert_eq!(u64::from(left), 30 + 10 * (minute - 5));
            let taken = left.min(79);
            assert!(hundred().decide(&mut state, &Hit::new(taken), second(minute * 60)).is_allowed());
        }
    }

    #[test]
    fn silence_recovers_in_full() {
        let mut state = AdaptiveState::default();
        let _ = minutes(hundred(), &mut state, 0..5, 400);
        let fresh_at = hundred().fresh_at(&state, Class::default());
        assert_eq!(fresh_at, second(60 * 12), "0.3 in minute 5, and 0.1 more in each of seven");
        assert!(!hundred().peek(&state, &Hit::new(100), second(60 * 12 - 1)).is_allowed());
        assert!(hundred().peek(&state, &Hit::new(100), fresh_at).is_allowed());
    }

    #[test]
    fn a_load_from_outside_reduces_from_the_next_window_on() {
        let pressed = hundred().load(ratio("90%"));
        let mut state = AdaptiveState::default();
        assert!(hundred().decide(&mut state, &Hit::new(1), second(0)).is_allowed());
        assert_eq!(pressed.peek(&state, &Hit::new(0), second(59)).limit(), 100, "not within a window");
        let limits = [60, 120, 180, 240].map(|at| {
            let decision = pressed.decide(&mut state, &Hit::new(1), second(at));
            decision.limit()
        });
        assert_eq!(limits, [60, 36, 30, 30]);
        assert_eq!(hundred().peek(&state, &Hit::new(0), second(300)).limit(), 40, "it has gone");
        assert_eq!(pressed.peek(&AdaptiveState::default(), &Hit::new(0), second(0)).limit(), 60);
        assert_eq!(
            pressed.peek(&AdaptiveState::default(), &Hit::new(61), second(0)).outcome(),
            Outcome::Never
        );
        assert_eq!(pressed.stat(&state, Class::default(), second(300)).current_load, ratio("90%"));
        assert_eq!(hundred().load(ratio("79%")).peek(&state, &Hit::new(0), second(300)).limit(), 40);
    }

    #[test]
    fn a_denial_is_noted_once_per_window() {
        let mut state = AdaptiveState::default();
        assert!(hundred().decide(&mut state, &Hit::new(50), second(0)).is_allowed());
        let denied = hundred().decide(&mut state, &Hit::new(51), second(30));
        assert!(crate::Verdict::is_recorded(&denied));
        let noted = state;
        assert_eq!(hundred().stat(&state, Class::default(), second(30)).current_load, ratio("101/100"));
        for cost in [51, 100] {
            let again = hundred().decide(&mut state, &Hit::new(cost), second(31));
            assert!(!crate::Verdict::is_recorded(&again) && state == noted);
        }
        assert!(hundred().decide(&mut state, &Hit::new(50), second(31)).is_allowed(), "and takes nothing");
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        let limit = hundred();
        for (wrong, error) in [
            (limit.threshold(ratio("0")), AdaptiveError::Threshold(ratio("0"))),
            (limit.threshold(ratio("1000001/1000000")), AdaptiveError::Threshold(ratio("1000001/1000000"))),
            (limit.reduction(ratio("1")), AdaptiveError::Reduction(ratio("1"))),
            (limit.recovery(ratio("1/1000001")), AdaptiveError::Recovery(ratio("1/1000001"))),
            (limit.recovery(ratio("2")), AdaptiveError::Recovery(ratio("2"))),
            (limit.floor(ratio("2")), AdaptiveError::Floor(ratio("2"))),
        ] {
            assert_eq!(wrong, Err(error));
        }
        assert_eq!(
            AdaptiveError::Reduction(ratio("1")).to_string(),
            "1 is no reduction, which is what the factor is multiplied by: below 1, such as 60%"
        );
        let defaults = limit.threshold(ratio("80%")).unwrap().reduction(ratio("60%")).unwrap();
        assert_eq!(defaults.recovery(ratio("10%")).unwrap().floor(ratio("30%")), Ok(limit));
        let least = limit.floor(ratio("0")).unwrap().reduction(ratio("0")).unwrap();
        assert_eq!(least.load(Ratio::ONE).peek(&Default::default(), &Hit::new(0), second(0)).limit(), 1);
        let closed = Adaptive::new(Rate::per_second(0));
        assert_eq!(closed.peek(&Default::default(), &Hit::new(1), second(0)).outcome(), Outcome::Never);
    }
}

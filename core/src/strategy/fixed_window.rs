//! The fixed window: a counter that restarts at every multiple of the period.

use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use core::time::Duration;

use super::math::rebase::is_ahead;
use super::wire::form;
use super::wire::stats::stat;
use super::{
    Bounds, CapacityError, Class, DecodeError, Hit, Reader, Scale, ScriptFormula, ScriptLimit, State,
    Strategy, Writer,
};
use crate::decision::{Figures, Quotient};
use crate::divide::Divisor;
use crate::time::{Halves, micros_ceil};
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

/// Admits at most the limit in each window of one period, aligned to the clock.
///
/// Choose it for a quota "per calendar minute", or where each instruction counts: it is the cheapest and the
/// coarsest strategy. Around the boundary of two windows up to twice the limit can pass within one period;
/// [`SlidingWindow`](crate::SlidingWindow) narrows that. The state takes 12 bytes.
///
/// An [`anchor`](Self::anchor) moves the boundaries, so that not all keys restart at the same moment.
///
/// 3 per 10 s:
///
/// | at | cost | decided | remaining |
/// |---|---|---|---|
/// | 12 s | 2 | allow | 1 |
/// | 18 s | 2 | deny, retry after 2 s | 1 |
/// | 18 s | 1 | allow | 0 |
/// | 20 s | 3 | allow | 0 |
/// | 20 s | 4 | never | 0 |
///
/// ```
/// use core::time::Duration;
/// use traffik::{FixedWindow, Hit, Outcome, Strategy, Timestamp, rate};
///
/// let window = FixedWindow::new(rate!("3/10s"));
/// let mut state = Default::default();
/// let mut at = |second: u64, cost| {
///     window.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(second * 1_000_000))
/// };
///
/// assert_eq!(at(12, 2).remaining(), 1);
/// assert_eq!(at(18, 2).retry_after(), Some(Duration::from_secs(2)));
/// assert_eq!(at(18, 1).remaining(), 0);
/// assert_eq!(at(20, 3).remaining(), 0);
/// assert_eq!(at(20, 4).outcome(), Outcome::Never);
/// ```
///
/// # Figures
///
/// `limiter.stat("alice")?.current_count` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `window_start` | `Timestamp` | start of the present window |
/// | `window_end` | `Timestamp` | end of the present window, and start of the next |
/// | `current_count` | `u32`, cost | use in the present window |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedWindow {
    rate: Rate,
    /// The period of the rate, in microseconds.
    period: Divisor,
    /// The offset of each window's start from a multiple of the period, in microseconds; below the period.
    anchor: u64,
}

/// The state of a [`FixedWindow`]: the use in the window of the last hit, in 12 bytes.
///
/// ```
/// use traffik::strategy::State;
/// use traffik::{FixedWindow, Hit, Strategy, Timestamp, rate};
///
/// let (window, mut state) = (FixedWindow::new(rate!("2/s")), State::FRESH);
/// window.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, State::FRESH);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FixedWindowState {
    /// The time of the last charged hit. The window follows from it, for any period that the limit now has.
    at: Halves,
    used: u32,
}

stat! {
    /// The figures of a [`FixedWindow`].
    ///
    /// ```
    /// use traffik::{Class, FixedWindow, Strategy, Timestamp, rate};
    ///
    /// let stat = FixedWindow::new(rate!("2/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.current_count, stat.window_end.as_micros()), (0, 1_000_000));
    /// ```
    pub struct FixedWindowStat {
        /// The start of the present window.
        pub window_start: Timestamp,
        /// The end of the present window, and the start of the next.
        pub window_end: Timestamp,
        /// The cost used in the present window.
        pub current_count: u32,
    }
}

impl FixedWindowState {
    fn new(at: Timestamp, used: u32) -> Self {
        match used {
            0 => Self::default(),
            _ => Self { at: Halves::of(at), used },
        }
    }

    const fn at(self) -> Timestamp {
        self.at.whole()
    }
}

serde_as_bytes!([] FixedWindowState);

impl State for FixedWindowState {
    const FRESH: Self = Self { at: Halves::of(Timestamp::EPOCH), used: 0 };
    const MAX_LEN: usize = 1 + 8 + 4;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::FIXED_WINDOW);
        out.u64(self.at().as_micros());
        out.u32(self.used);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::FIXED_WINDOW)?;
        let (at, used) = (Timestamp::from_micros(input.u64()?), input.u32()?);
        let state = Self::new(at, used);
        // A state with nothing in use has one encoded form: that of a key never seen.
        if state.at() == at { Ok(state) } else { Err(DecodeError) }
    }
}

impl FixedWindow {
    /// Returns windows of one period, the first of which began at the clock's epoch.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, period: Divisor::new(rate.period_micros()), anchor: 0 }
    }

    /// Moves every boundary later by `anchor`, rounded up to 1 µs.
    #[must_use]
    pub const fn anchor(self, anchor: Duration) -> Self {
        match micros_ceil(anchor).checked_rem(self.rate.period_micros()) {
            Some(anchor) => Self { anchor, ..self },
            None => self,
        }
    }

    /// Returns the rate, whose limit holds for each window.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Returns the number of whole periods in `micros` microseconds.
    #[inline]
    pub(super) fn periods(&self, micros: u64) -> u64 {
        self.period.divide(micros).0
    }

    /// Returns the start and the end of the window that holds this time.
    #[inline]
    pub(super) fn window(&self, at: Timestamp) -> (Timestamp, Timestamp) {
        let at = at.as_micros();
        // start = at − (at − anchor) mod period. Before the first boundary lies the rest of a window that
        // began before the epoch.
        let (start, end) = match at.checked_sub(self.anchor) {
            Some(since) => {
                let start = at - self.period.divide(since).1;
                (start, start.saturating_add(self.rate.period_micros()))
            }
            None => (0, self.anchor),
        };
        (Timestamp::from_micros(start), Timestamp::from_micros(end))
    }

    /// Returns the time of decision, the use in its window, and the end of that window.
    #[inline]
    fn present(&self, state: FixedWindowState, now: Timestamp) -> (Timestamp, u32, Timestamp) {
        let at = now.max(state.at());
        let (start, end) = self.window(at);
        (at, if state.at() >= start { state.used } else { 0 }, end)
    }
}

impl Strategy for FixedWindow {
    type State = FixedWindowState;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = FixedWindowStat;

    // Inlined, so that the compiler drops the figures which the caller does not read.
    #[inline(always)]
    fn decide(&self, state: &mut FixedWindowState, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate.is_unlimited() {
            return Decision::unlimited();
        }
        let (at, used, end) = self.present(*state, now);
        let limit = self.rate.limit();
        // A clock that stepped back out of the window waits no longer than one period.
        let wait = Quotient::whole(end.micros_since(now).min(self.rate.period_micros()));
        let reset = |used: u32| if used == 0 { Quotient::ZERO } else { wait };
        let figures = |used: u32| Figures {
            limit,
            rate: self.rate,
            remaining: Quotient::whole(limit.saturating_sub(used).into()),
            reset: reset(used),
            receipt: Receipt::new(at),
        };
        if hit.cost == 0 {
            return figures(used).allow(false, reset(used));
        }
        if hit.cost > limit {
            return figures(used).never(reset(used));
        }
        // used + cost > limit, written so that it cannot overflow.
        if used > limit - hit.cost {
            return figures(used).deny(wait);
        }
        *state = FixedWindowState::new(at, used + hit.cost);
        figures(used + hit.cost).allow(true, wait)
    }

    fn charge(&self, state: &mut FixedWindowState, hit: &Hit, now: Timestamp) {
        if !self.rate.is_unlimited() && hit.cost > 0 {
            let (at, used, _) = self.present(*state, now);
            *state = FixedWindowState::new(at, used.saturating_add(hit.cost));
        }
    }

    /// Takes the cost back if the window that it was charged to is still the present one.
    fn refund(&self, state: &mut FixedWindowState, hit: &Hit, receipt: Receipt, now: Timestamp) {
        let (at, used, _) = self.present(*state, now);
        if self.window(at) == self.window(receipt.at) {
            *state = FixedWindowState::new(state.at(), used.saturating_sub(hit.cost));
        }
    }

    #[inline]
    fn expires_at(&self, state: &FixedWindowState, _: Class) -> Timestamp {
        if state.used == 0 { state.at() } else { self.window(state.at()).1 }
    }

    fn max_ttl(&self) -> u64 {
        self.rate.period_micros()
    }

    fn rebase(&self, state: &mut FixedWindowState, now: Timestamp) -> bool {
        let is_ahead = is_ahead(state.at(), now, self.max_ttl());
        if is_ahead {
            // The count moves to the window that holds the present, and stays in use until that ends.
            state.at = Halves::of(now);
        }
        is_ahead
    }

    /// Shows the anchor as a kind of its own: windows that begin at other times would forget each other's
    /// use.
    fn kinds(&self, visit: &mut dyn FnMut(u32, u64)) {
        visit(form::<FixedWindowState>(), self.rate.period_micros());
        if self.anchor > 0 {
            visit(0, self.anchor);
        }
    }

    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let (period, limit) = (self.rate.period_micros(), self.rate.limit());
        ScriptLimit::windowed(
            self.rate,
            hit,
            visit,
            ScriptFormula::Window { period, anchor: self.anchor, limit },
        )
    }

    fn stat(&self, state: &FixedWindowState, _: Class, now: Timestamp) -> FixedWindowStat {
        let (at, current_count, _) = self.present(*state, now);
        let (window_start, window_end) = self.window(at);
        FixedWindowStat { window_start, window_end, current_count }
    }
}

impl Scale for FixedWindow {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(Self { rate: self.rate.scaled(ratio), ..*self })
    }
}

impl Bounds for FixedWindow {
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        if self.rate.is_unlimited() {
            return u128::MAX;
        }
        // Window k starts at anchor + (k − 1) · period, so the one that holds `at` has the number
        // ⌊(at + period − anchor) / period⌋. The windows touched are number(last) − number(first) + 1.
        let period = u128::from(self.rate.period_micros());
        let number = |at: Timestamp| (u128::from(at.as_micros()) + period - u128::from(self.anchor)) / period;
        let windows = number(last) - number(first) + 1;
        windows * u128::from(self.rate.limit())
    }

    /// Promises `⌊limit / cost⌋ · cost` in every window: the rest is less than one more whole cost.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        let cost = cost.max(1);
        let windows = self.most(first, last) / u128::from(self.rate.limit().max(1));
        windows * u128::from(self.rate.limit() / cost * cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: u64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn an_anchor_moves_the_boundaries() {
        let window = FixedWindow::new(Rate::per_minute(1)).anchor(Duration::from_secs(75));
        assert_eq!(window.window(second(14)), (second(0), second(15)));
        assert_eq!(window.window(second(15)), (second(15), second(75)));
        assert_eq!(window.window(second(74)), (second(15), second(75)));
        assert_eq!(window.window(Timestamp::MAX).1, Timestamp::MAX);
    }

    /// Defect 1 of the original: every N/s window was N per 2 s, so 5/s admitted 15 in 6 s.
    #[test]
    fn defect_1_one_second_windows_last_one_second() {
        assert_eq!(admitted(Rate::per_second(5), 6_000_000), 30);
    }

    /// Defect 2 of the original: fractional windows were cut to whole seconds, so 5/2900ms admitted 30 in 4
    /// windows.
    #[test]
    fn defect_2_fractional_windows_keep_their_length() {
        assert_eq!(admitted("5/2900ms".parse().unwrap(), 4 * 2_900_000), 20);
    }

    /// Defect 3 of the original: the wait was 0.9 s when the window had 10 s to go.
    #[test]
    fn defect_3_the_wait_is_to_the_end_of_the_window() {
        let window = FixedWindow::new("1/10s".parse().unwrap());
        let mut state = FixedWindowState::default();
        assert!(window.decide(&mut state, &Hit::new(1), second(20)).is_allowed());
        let wait = window.decide(&mut state, &Hit::new(1), second(20)).retry_after().unwrap();
        assert_eq!(wait, Duration::from_secs(10));
        assert!(window.decide(&mut state, &Hit::new(1), second(20) + wait).is_allowed());
    }

    /// Checks a hundred hits in every tenth of a second and counts the admitted ones.
    fn admitted(rate: Rate, span: u64) -> u64 {
        let window = FixedWindow::new(rate);
        let mut state = FixedWindowState::default();
        let times = (0..span).step_by(100_000).flat_map(|at| core::iter::repeat_n(at, 100));
        times
            .filter(|at| window.decide(&mut state, &Hit::new(1), Timestamp::from_micros(*at)).is_allowed())
            .count() as u64
    }
}

//! Fixed window: a counter that starts again at every multiple of the period.

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

/// Counts hits in windows of one period, aligned to the clock: at most the limit in each.
///
/// The cheapest and the coarsest strategy: around the boundary of two windows up to twice the limit can pass
/// within one period. An [`anchor`](Self::anchor) moves the boundaries, so that not all keys start again at
/// the same moment.
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
/// let mut at = |second: u64, cost| window.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(second * 1_000_000));
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
/// `limiter.stat("alice")?.current_count` reads one of them and charges nobody.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `window_start` | `Timestamp` | start of the present window |
/// | `window_end` | `Timestamp` | end of the present window, and start of the next |
/// | `current_count` | `u32`, cost | use in the present window |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedWindow {
    rate: Rate,
    /// That of the rate, in microseconds.
    period: Divisor,
    /// Windows start this far after a multiple of the period; less than the period.
    anchor: u64,
}

/// The state of a fixed window: what was used in the window that holds the last hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct FixedWindowState {
    /// The time of the last hit that was booked, from which the window follows for whatever period the
    /// limit has by now.
    at: Halves,
    used: u32,
}

stat! {
    /// A fixed window's own figures.
    pub struct FixedWindowStat {
        /// When the present window began.
        pub window_start: Timestamp,
        /// When it ends, and the next one begins.
        pub window_end: Timestamp,
        /// The cost used in it.
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
        // Nothing used is always written as the state never used.
        if state.at() == at { Ok(state) } else { Err(DecodeError) }
    }
}

impl FixedWindow {
    /// Windows of one period, the first of which began at the clock's epoch.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, period: Divisor::new(rate.period_micros()), anchor: 0 }
    }

    /// The same windows with every boundary moved later by `anchor` (a fraction of a microsecond rounds up).
    #[must_use]
    pub const fn anchor(self, anchor: Duration) -> Self {
        match micros_ceil(anchor).checked_rem(self.rate.period_micros()) {
            Some(anchor) => Self { anchor, ..self },
            None => self,
        }
    }

    /// The rate whose limit holds for each window.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// How many whole periods so many microseconds are.
    #[inline]
    pub(super) fn periods(&self, micros: u64) -> u64 {
        self.period.divide(micros).0
    }

    /// The window that holds this time: its start and its end.
    #[inline]
    pub(super) fn window(&self, at: Timestamp) -> (Timestamp, Timestamp) {
        let at = at.as_micros();
        // Before the first boundary lies the rest of a window that began before the epoch.
        let (start, end) = match at.checked_sub(self.anchor) {
            Some(since) => {
                let start = at - self.period.divide(since).1;
                (start, start.saturating_add(self.rate.period_micros()))
            }
            None => (0, self.anchor),
        };
        (Timestamp::from_micros(start), Timestamp::from_micros(end))
    }

    /// The time a state decides at, what is used in the window that holds it, and that window's end.
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

    // What of the figures is not read then need not be computed.
    #[inline(always)]
    fn decide(&self, state: &mut FixedWindowState, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate.is_unlimited() {
            return Decision::unlimited();
        }
        let (at, used, end) = self.present(*state, now);
        let limit = self.rate.limit();
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

    /// Takes the cost back if the window it was booked in is still the present one.
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
            state.at = Halves::of(now);
        }
        is_ahead
    }

    /// Of windows that begin at other times, each would forget what the other counts.
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
        let period = u128::from(self.rate.period_micros());
        let number = |at: Timestamp| (u128::from(at.as_micros()) + period - u128::from(self.anchor)) / period;
        let windows = number(last) - number(first) + 1;
        windows * u128::from(self.rate.limit())
    }

    /// In every window the limit, but for what is left over when the next whole `cost` no longer fits.
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

    /// Defect 2 of the original: fractional windows were cut to whole seconds, 5/2900ms admitted 30 in 4 windows.
    #[test]
    fn defect_2_fractional_windows_keep_their_length() {
        assert_eq!(admitted("5/2900ms".parse().unwrap(), 4 * 2_900_000), 20);
    }

    /// Defect 3 of the original: told to wait 0.9 s when the window had 10 s to go.
    #[test]
    fn defect_3_the_wait_is_to_the_end_of_the_window() {
        let window = FixedWindow::new("1/10s".parse().unwrap());
        let mut state = FixedWindowState::default();
        assert!(window.decide(&mut state, &Hit::new(1), second(20)).is_allowed());
        let wait = window.decide(&mut state, &Hit::new(1), second(20)).retry_after().unwrap();
        assert_eq!(wait, Duration::from_secs(10));
        assert!(window.decide(&mut state, &Hit::new(1), second(20) + wait).is_allowed());
    }

    /// Asks a hundred times in every tenth of a second and counts what passes.
    fn admitted(rate: Rate, span: u64) -> u64 {
        let window = FixedWindow::new(rate);
        let mut state = FixedWindowState::default();
        let times = (0..span).step_by(100_000).flat_map(|at| core::iter::repeat_n(at, 100));
        times
            .filter(|at| window.decide(&mut state, &Hit::new(1), Timestamp::from_micros(*at)).is_allowed())
            .count() as u64
    }
}

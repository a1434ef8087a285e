//! Adaptive: fixed windows whose limit falls under load and recovers when it has gone.

use super::math::rebase::{is_ahead, told};
use super::wire::stats::stat;
use super::{Bounds, CapacityError, Class, FixedWindow, Hit, Scale, Strategy};
use crate::decision::{Figures, Kind, Quotient};
use crate::divide::{Divisor, divide_up, scale_down};
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

mod factor;
mod parameters;
mod state;
#[cfg(test)]
mod tests;

pub use state::AdaptiveState;
use state::WHOLE;

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
/// use traffik::{Adaptive, Hit, Strategy, Timestamp, rate};
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
///
/// # Figures
///
/// `limiter.stat("alice")?.effective_limit` reads one of them and charges nobody.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `window_start` | `Timestamp` | start of the present window |
/// | `window_end` | `Timestamp` | end of the present window, and start of the next |
/// | `used` | `u32`, cost | use in the present window |
/// | `effective_limit` | `u32`, cost | most that may be used in it |
/// | `current_load` | `Ratio` | load: demand so far over the limit, or the load from outside if more |
/// | `factor` | `Ratio` | effective limit over the limit, before rounding |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    windows: FixedWindow,
    threshold: u32,
    reduction: u32,
    recovery: Divisor,
    floor: u32,
    load: Ratio,
    /// The demand from which on a window was loaded.
    loaded_from: u64,
    /// Whether the load told from outside reaches the threshold.
    loaded_outside: bool,
    /// The largest cost that can ever pass while it does, or does not.
    largest_cost: u32,
}

stat! {
    /// An adaptive limit's own figures.
    pub struct AdaptiveStat {
        /// When the present window began.
        pub window_start: Timestamp,
        /// When it ends, and the next one begins.
        pub window_end: Timestamp,
        /// The cost used in it.
        pub used: u32,
        /// How much may be used in it.
        pub effective_limit: u32,
        /// Its demand so far over the limit, or the load told from outside if that is more.
        pub current_load: Ratio,
        /// The effective limit over the limit, before rounding.
        pub factor: Ratio,
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
            recovery: Divisor::new(100_000),
            floor: 300_000,
            load: Ratio::ZERO,
            loaded_from: 0,
            loaded_outside: false,
            largest_cost: 0,
        }
        .prepared()
    }

    /// The same limit, with what follows from its parameters.
    const fn prepared(self) -> Self {
        let threshold = self.threshold as u64;
        let (load, reached) = (self.load.num() as u128, threshold as u128 * self.load.den() as u128);
        let loaded_from = (threshold * self.rate().limit() as u64).div_ceil(WHOLE as u64);
        let limit = Self { loaded_from, loaded_outside: load * WHOLE as u128 >= reached, ..self };
        Self { largest_cost: limit.effective(limit.rested()), ..limit }
    }

    /// The same limit under a load known from outside, such as that of a processor: cheap to make anew for
    /// every request. From the threshold on a window that begins counts as following a loaded one, also for a
    /// key never seen; a cost above what that leaves can not pass while the load lasts.
    #[must_use]
    pub const fn load(self, load: Ratio) -> Self {
        Self { load, ..self }.prepared()
    }

    /// The rate whose limit holds without load.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.windows.rate()
    }

    /// Brings a state to the window that holds the time it decides at; tells where that begins and ends too.
    #[inline]
    fn present(&self, state: AdaptiveState, now: Timestamp) -> (AdaptiveState, (Timestamp, Timestamp)) {
        let at = now.max(state.at);
        let (start, end) = self.windows.window(at);
        let present = if state == AdaptiveState::default() {
            AdaptiveState { at, lack: WHOLE - self.rested(), ..state }
        } else if state.at >= start {
            AdaptiveState { at, ..state }
        } else {
            self.in_new_window(state, at, start)
        };
        (present, (start, end))
    }

    #[cold]
    fn in_new_window(&self, state: AdaptiveState, at: Timestamp, start: Timestamp) -> AdaptiveState {
        let (since, _) = self.windows.window(state.at);
        let windows = self.windows.periods(start.micros_since(since));
        AdaptiveState { at, used: 0, demand: 0, lack: WHOLE - self.factor(state, windows).min(WHOLE) }
    }

    /// The beginning of a window some windows after one that ends at `end`, at least one.
    #[inline]
    fn window_after(&self, end: Timestamp, windows: u64) -> Timestamp {
        end.plus_micros(self.rate().period_micros().saturating_mul(windows.saturating_sub(1)))
    }

    /// The use that a present window, which began at `start`, is on course for: at least what would be used with
    /// what is asked for.
    #[cold]
    fn course(&self, present: &AdaptiveState, start: Timestamp, asked: u64) -> u32 {
        let elapsed = present.at.micros_since(start).max(1);
        let course = scale_down(present.used.into(), self.rate().period_micros(), elapsed);
        u32::try_from(course.max(asked)).unwrap_or(u32::MAX)
    }

    /// Until when a state of the present window, which ends at `end`, has to wait for this cost, once it is denied.
    #[inline]
    fn wait(&self, state: AdaptiveState, next: u32, end: Timestamp, cost: u32) -> Timestamp {
        let first = if self.loaded_outside { self.factor(state, 1) } else { next };
        if cost <= self.effective(first) { end } else { self.wait_longer(next, end, cost) }
    }

    #[cold]
    fn wait_longer(&self, next: u32, end: Timestamp, cost: u32) -> Timestamp {
        let of_whole = |part: u32, whole: u32| {
            let factor = divide_up(u64::from(part) * u64::from(WHOLE), whole.into());
            u32::try_from(factor).unwrap_or(WHOLE).min(WHOLE)
        };
        let needed = of_whole(cost, self.rate().limit());
        let windows = if self.loaded_outside {
            1 + self.windows_until(next, of_whole(needed, self.reduction))
        } else {
            self.windows_until(next, needed)
        };
        self.window_after(end, windows)
    }

    /// When a state whose window ends at `end` is fresh.
    #[inline]
    fn fresh(&self, state: AdaptiveState, next: u32, end: Timestamp) -> Timestamp {
        if state == AdaptiveState::default() {
            return state.at;
        }
        let whole = self.windows_until(next, WHOLE);
        let windows = if !self.loaded_outside || (whole == 1 && state.lack == 0) {
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
        let behind = if from > now { from.micros_since(now) } else { 0 };
        Quotient::whole(told(to.micros_since(from), behind, self.max_ttl()))
    }
}

impl Strategy for Adaptive {
    type State = AdaptiveState;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = AdaptiveStat;

    // What of the figures is not read then need not be computed.
    #[inline(always)]
    fn decide(&self, state: &mut AdaptiveState, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate().is_unlimited() {
            return Decision::unlimited();
        }
        let (present, (start, end)) = self.present(*state, now);
        let limit = self.effective(WHOLE - present.lack);
        let asked = u64::from(present.used) + u64::from(hit.cost);
        let mut used = present.used;
        let (kind, recorded) = if hit.cost == 0 {
            (Kind::Allow, false)
        } else if asked <= limit.into() {
            used = asked as u32;
            *state = AdaptiveState { used, ..present };
            (Kind::Allow, true)
        } else if hit.cost > self.largest_cost {
            (Kind::Never, false)
        } else if present.demand == 0 {
            *state = AdaptiveState { demand: self.course(&present, start, asked), ..present };
            (Kind::Deny, true)
        } else {
            (Kind::Deny, false)
        };
        // An older state has a window of its own.
        let end = if state.at >= start { end } else { self.windows.window(state.at).1 };
        let next = self.own_factor(*state, 1);
        let remaining = limit.saturating_sub(used);
        // A denial waits for its cost, and who is told what remains for more than that.
        let wanted = if kind == Kind::Deny { Some(hit.cost) } else { remaining.checked_add(1) };
        let wait = match wanted {
            Some(wanted) if wanted <= self.largest_cost => {
                self.span(present.at, self.wait(*state, next, end, wanted), now)
            }
            _ => Quotient::ZERO,
        };
        let reset = match self.fresh(*state, next, end) {
            past if past <= present.at => Quotient::ZERO,
            expires_at => self.span(present.at, expires_at, now),
        };
        let figures = Figures {
            limit,
            rate: self.rate(),
            remaining: Quotient::whole(remaining.into()),
            reset,
            receipt: Receipt::new(present.at),
        };
        figures.decision(kind, recorded, wait)
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

    fn expires_at(&self, state: &AdaptiveState, _: Class) -> Timestamp {
        self.fresh(*state, self.own_factor(*state, 1), self.windows.window(state.at).1)
    }

    fn max_ttl(&self) -> u64 {
        let recovery = self.recovery.divide_up(WHOLE.into());
        self.rate().period_micros().saturating_mul(recovery + 2)
    }

    fn rebase(&self, state: &mut AdaptiveState, now: Timestamp) -> bool {
        let is_ahead = is_ahead(state.at, now, self.max_ttl());
        if is_ahead {
            state.at = now;
        }
        is_ahead
    }

    fn records_demand(&self) -> bool {
        true
    }

    fn stat(&self, state: &AdaptiveState, _: Class, now: Timestamp) -> AdaptiveStat {
        let (present, (window_start, window_end)) = self.present(*state, now);
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
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(Self { windows: self.windows.scaled(ratio)?, ..*self }.prepared())
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

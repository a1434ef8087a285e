//! The adaptive limit: fixed windows whose limit falls under load and recovers afterwards.

use super::math::rebase::{bounded_wait, is_ahead};
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

/// Lowers its limit while a client presses on, or while the service is loaded, and raises it again
/// afterwards.
///
/// Choose it to shed load from clients that ignore denials, or by a [load](Self::load) that you measure.
/// [`CostBased`](crate::CostBased) slows down expensive hits instead; [`FixedWindow`] keeps its limit. The
/// state takes 24 bytes.
///
/// Windows have one period and are aligned to the clock. A window admits up to `⌊factor · limit⌋`, or up to 1
/// if that is 0 and the limit is not. The factor starts at 1 and changes only from one window to the next:
///
/// * A window was loaded if its *demand* reached the threshold times the limit. The factor is then multiplied
///   by the reduction, but stays at the floor or above.
/// * After any other window, a silent one included, the recovery is added to the factor, up to 1.
///
/// The demand of a window is the cost that it admitted. If it denied a hit, the demand is the use that the
/// window was on course for at its first denial: `used · period / (time since the window began)`, and at
/// least the use with the denied cost. It is recorded once per window; denials cost nothing else.
///
/// Demand is measured against the limit itself, not the reduced one. A client that uses just what is left
/// lets the factor recover, and so does one that asks steadily for less than the threshold of the full limit.
/// A client that presses on keeps the factor at the floor. Asking for more than is left right when a window
/// begins counts as pressing on.
///
/// A [load](Self::load) given from outside counts as that of the previous window, for the request that gives
/// it.
///
/// Each window admits at most the limit, and at least `max(1, ⌊floor · limit⌋)`, less the rest that is
/// smaller than one more whole cost. The factor is counted in millionths and rounded down. A refund takes
/// back the count, but not a change of the factor.
///
/// The threshold defaults to 0.8, the reduction to 0.6, the recovery to 0.1 and the floor to 0.3. 10 per
/// minute:
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
/// Source: additive increase and multiplicative decrease, D.-M. Chiu and R. Jain, "Analysis of the increase
/// and decrease algorithms for congestion avoidance in computer networks", Computer Networks and ISDN
/// Systems 17(1), 1989.
///
/// # Figures
///
/// `limiter.stat("alice")?.effective_limit` reads one of them without charging the key.
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
    /// The threshold in millionths, as are the reduction, the recovery and the floor.
    threshold: u32,
    reduction: u32,
    recovery: Divisor,
    floor: u32,
    load: Ratio,
    /// The demand from which on a window was loaded: `⌈threshold · limit⌉`.
    loaded_from: u64,
    /// Whether the load given from outside reaches the threshold.
    loaded_outside: bool,
    /// The largest cost that can pass while the load from outside stays as it is.
    largest_cost: u32,
}

stat! {
    /// The figures of an [`Adaptive`] limit.
    ///
    /// ```
    /// use traffik::{Adaptive, Class, Ratio, Strategy, Timestamp, rate};
    ///
    /// let stat = Adaptive::new(rate!("9/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.effective_limit, stat.factor), (9, Ratio::ONE));
    /// ```
    pub struct AdaptiveStat {
        /// The start of the present window.
        pub window_start: Timestamp,
        /// The end of the present window, and the start of the next.
        pub window_end: Timestamp,
        /// The cost used in the present window.
        pub used: u32,
        /// The most that may be used in the present window.
        pub effective_limit: u32,
        /// The demand of the present window over the limit, or the load from outside if that is larger.
        pub current_load: Ratio,
        /// The effective limit over the limit, before rounding.
        pub factor: Ratio,
    }
}

impl Adaptive {
    /// Returns an adaptive limit with the default parameters: at most the limit of `rate` in each window.
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

    /// Computes the fields that follow from the parameters.
    const fn prepared(self) -> Self {
        let threshold = self.threshold as u64;
        // load.num / load.den ≥ threshold / WHOLE, multiplied out.
        let (load, reached) = (self.load.num() as u128, threshold as u128 * self.load.den() as u128);
        let loaded_from = (threshold * self.rate().limit() as u64).div_ceil(WHOLE as u64);
        let limit = Self { loaded_from, loaded_outside: load * WHOLE as u128 >= reached, ..self };
        Self { largest_cost: limit.effective(limit.rested()), ..limit }
    }

    /// Sets a load known from outside, such as that of a processor. Cheap to call for every request.
    ///
    /// From the threshold on, a window that begins counts as following a loaded one, also for a key never
    /// seen. A cost above the limit that this leaves cannot pass while the load lasts.
    #[must_use]
    pub const fn load(self, load: Ratio) -> Self {
        Self { load, ..self }.prepared()
    }

    /// Returns the rate, whose limit holds without load.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.windows.rate()
    }

    /// Brings a state to the window that holds the time of decision, and returns that window's start and end.
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

    /// Returns the start of a window that comes `windows` (at least 1) windows after one that ends at `end`.
    #[inline]
    fn window_after(&self, end: Timestamp, windows: u64) -> Timestamp {
        end.plus_micros(self.rate().period_micros().saturating_mul(windows.saturating_sub(1)))
    }

    /// Returns the use that the present window is on course for: `max(used · period / elapsed, total)`.
    ///
    /// `total` is the use with the denied cost.
    #[cold]
    fn course(&self, present: &AdaptiveState, start: Timestamp, total: u64) -> u32 {
        // The window began at `start`; at its very start one microsecond counts as elapsed.
        let elapsed = present.at.micros_since(start).max(1);
        let course = scale_down(present.used.into(), self.rate().period_micros(), elapsed);
        u32::try_from(course.max(total)).unwrap_or(u32::MAX)
    }

    /// Returns the time at which a denied cost passes, for a state whose window ends at `end`.
    #[inline]
    fn wait(&self, state: AdaptiveState, next: u32, end: Timestamp, cost: u32) -> Timestamp {
        let first = if self.loaded_outside { self.factor(state, 1) } else { next };
        if cost <= self.effective(first) { end } else { self.wait_longer(next, end, cost) }
    }

    #[cold]
    fn wait_longer(&self, next: u32, end: Timestamp, cost: u32) -> Timestamp {
        // ⌈part · WHOLE / whole⌉, the factor in millionths at which `part` of `whole` is reached, at most 1.
        let of_whole = |part: u32, whole: u32| {
            let factor = divide_up(u64::from(part) * u64::from(WHOLE), whole.into());
            u32::try_from(factor).unwrap_or(WHOLE).min(WHOLE)
        };
        let needed = of_whole(cost, self.rate().limit());
        // Under load from outside the last factor is reduced once more, so it has to be larger before that.
        let windows = if self.loaded_outside {
            1 + self.windows_until(next, of_whole(needed, self.reduction))
        } else {
            self.windows_until(next, needed)
        };
        self.window_after(end, windows)
    }

    /// Returns the time at which a state is fresh, whose window ends at `end`.
    #[inline]
    fn fresh(&self, state: AdaptiveState, next: u32, end: Timestamp) -> Timestamp {
        if state == AdaptiveState::default() {
            return state.at;
        }
        let whole = self.windows_until(next, WHOLE);
        let windows = if !self.loaded_outside || (whole == 1 && state.lack == 0) {
            whole
        } else if self.reduction > self.floor {
            // Reduced once more, any other factor than 1 would show for one more window.
            whole + 1
        } else if state.used > 0 || state.demand > 0 || self.own_factor(state, 0) != self.rested() {
            1
        } else {
            return state.at;
        };
        self.window_after(end, windows)
    }

    /// Returns the time from `from` to `to`, counted from a present that may lie before `from`.
    fn span(&self, from: Timestamp, to: Timestamp, now: Timestamp) -> Quotient {
        let behind = if from > now { from.micros_since(now) } else { 0 };
        Quotient::whole(bounded_wait(to.micros_since(from), behind, self.max_ttl()))
    }
}

impl Strategy for Adaptive {
    type State = AdaptiveState;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = AdaptiveStat;

    // Inlined, so that the compiler drops the figures which the caller does not read.
    #[inline(always)]
    fn decide(&self, state: &mut AdaptiveState, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate().is_unlimited() {
            return Decision::unlimited();
        }
        let (present, (start, end)) = self.present(*state, now);
        let limit = self.effective(WHOLE - present.lack);
        let total = u64::from(present.used) + u64::from(hit.cost);
        let mut used = present.used;
        let (kind, recorded) = if hit.cost == 0 {
            (Kind::Allow, false)
        } else if total <= limit.into() {
            used = total as u32;
            *state = AdaptiveState { used, ..present };
            (Kind::Allow, true)
        } else if hit.cost > self.largest_cost {
            (Kind::Never, false)
        } else if present.demand == 0 {
            *state = AdaptiveState { demand: self.course(&present, start, total), ..present };
            (Kind::Deny, true)
        } else {
            (Kind::Deny, false)
        };
        // A state that was not written may be of an older window.
        let end = if state.at >= start { end } else { self.windows.window(state.at).1 };
        let next = self.own_factor(*state, 1);
        let remaining = limit.saturating_sub(used);
        // A denial waits for its cost; otherwise the wait is for one more than what remains.
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

    /// Takes the cost back if the window that it was charged to is still the state's own.
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
        // At most ⌈1 / recovery⌉ windows recover the factor, after the present window and one reduced from
        // outside.
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

/// Scales the rate; the parameters and the load stay the same.
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
        // Each window admits ⌊effective / cost⌋ whole costs, at the floor in the worst case.
        let windows = self.windows.most(first, last).checked_div(limit.into()).unwrap_or(0);
        windows.saturating_mul((self.effective(self.floor) / cost * cost).into())
    }
}

//! The sliding window: the count of the present window, and the part of the previous one that overlaps.

use super::math::rebase::is_ahead;
use super::math::window_usage::WindowUsage;
use super::wire::stats::stat;
use super::{
    CapacityError, Class, DecodeError, Hit, Reader, Scale, ScriptFormula, ScriptLimit, State, Strategy,
    Writer,
};
use crate::decision::Quotient;
use crate::divide::{Divisor, divide, scale_down, scale_up};
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

mod bounds;
#[cfg(test)]
mod tests;

/// Smooths a limit over window boundaries: counts the present window, and the overlapping part of the last.
///
/// Choose it for steady limits on many keys. It is nearly as cheap as [`FixedWindow`](crate::FixedWindow),
/// which lets up to twice the limit pass around a boundary. [`strict`](Self::strict) and
/// [`SlidingLog`](crate::SlidingLog) never exceed the limit in any period. The state takes 24 bytes.
///
/// With `e` of the present window gone, the use is `current + ⌊previous · (period − e) / period⌋`. At most
/// the limit passes in each aligned window, and a burst has to be made up for in the next one. A burst at the
/// very end of one window, followed up all through the next, still comes near twice the limit.
///
/// A client that always asks for cost `c` gets `c · ⌊limit / c⌋` in each window. Traffic that comes steadily
/// at the limit gets the same, however small the limit is: of the previous window only whole costs count. At
/// a rate above one per microsecond `⌊limit / period⌋` of the previous window stay in use to the end, and
/// each window after the first admits that much less.
///
/// 4 per 10 s:
///
/// | at | cost | decided | in use after it |
/// |---|---|---|---|
/// | 12 s | 3 | allow | 3 |
/// | 20 s | 3 | deny, retry after 3.333334 s | 3 of the window before |
/// | 24 s | 3 | allow | 3 + ⌊3 · 0.6⌋ = 4 |
/// | 25 s | 3 | deny, retry after 8.333334 s | 3 + ⌊3 · 0.5⌋ = 4 |
/// | 35 s | 3 | allow | 3 + ⌊3 · 0.5⌋ = 4 |
/// | 35 s | 5 | never | 4 |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Hit, Outcome, SlidingWindow, Strategy, Timestamp, rate};
///
/// let window = SlidingWindow::new(rate!("4/10s"));
/// let mut state = Default::default();
/// let mut at = |second: u64, cost| {
///     window.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(second * 1_000_000))
/// };
///
/// assert_eq!(at(12, 3).remaining(), 1);
/// assert_eq!(at(20, 3).retry_after(), Some(Duration::from_micros(3_333_334)));
/// assert_eq!(at(24, 3).remaining(), 0);
/// assert_eq!(at(25, 3).retry_after(), Some(Duration::from_micros(8_333_334))); // in the next window
/// assert_eq!(at(35, 3).remaining(), 0);
/// assert_eq!(at(35, 5).outcome(), Outcome::Never);
/// ```
///
/// Source: Cloudflare, "How we built rate limiting capable of scaling to millions of domains", 2017.
///
/// # Figures
///
/// `limiter.stat("alice")?.weighted_count` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `window_start` | `Timestamp` | start of the present window |
/// | `window_end` | `Timestamp` | end of the present window, and start of the next |
/// | `current_count` | `u32`, cost | use in the present window |
/// | `previous_count` | `u32`, cost | use in the window before it |
/// | `weighted_count` | `u64`, cost | use that counts: both, the previous as far as it overlaps |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    rate: Rate,
    /// The period of the rate, in microseconds.
    period: Divisor,
}

/// The state of a [`SlidingWindow`]: the use in the window of the last hit, and in the one before.
///
/// ```
/// use traffik::strategy::State;
/// use traffik::{Hit, SlidingWindow, Strategy, Timestamp, rate};
///
/// let (window, mut state) = (SlidingWindow::new(rate!("2/s")), State::FRESH);
/// window.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, State::FRESH);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlidingWindowState {
    /// The time of the last charged hit.
    at: Timestamp,
    /// The length of the windows counted in, in microseconds; 0 in a state never used. A limit may change
    /// under its state, so the state keeps it.
    period: u64,
    previous: u32,
    current: u32,
}

stat! {
    /// The figures of a [`SlidingWindow`].
    ///
    /// ```
    /// use traffik::{Class, SlidingWindow, Strategy, Timestamp, rate};
    ///
    /// let stat = SlidingWindow::new(rate!("2/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.weighted_count, stat.window_end.as_micros()), (0, 1_000_000));
    /// ```
    pub struct SlidingWindowStat {
        /// The start of the present window.
        pub window_start: Timestamp,
        /// The end of the present window, and the start of the next.
        pub window_end: Timestamp,
        /// The cost used in the present window.
        pub current_count: u32,
        /// The cost used in the previous window, as long as some of it counts.
        pub previous_count: u32,
        /// The cost in use: that of the present window, and the overlapping part of the previous one.
        pub weighted_count: u64,
    }
}

impl SlidingWindowState {
    fn new(at: Timestamp, period: u64, previous: u32, current: u32) -> Self {
        if previous == 0 && current == 0 { Self::default() } else { Self { at, period, previous, current } }
    }

    /// Returns the previous and the current count in windows of `period`, at the state's own time.
    ///
    /// If the state was counted in windows of another period, all that is in use counts as used at that time.
    fn counts(&self, period: u64) -> (u32, u32) {
        if self.period == period || self.period == 0 {
            return (self.previous, self.current);
        }
        let left = self.period - divide(self.at.as_micros(), self.period).1;
        (0, self.current.saturating_add(share(self.previous, left, self.period)))
    }
}

serde_as_bytes!([] SlidingWindowState);

impl State for SlidingWindowState {
    const FRESH: Self = Self { at: Timestamp::EPOCH, period: 0, previous: 0, current: 0 };
    const MAX_LEN: usize = 1 + 2 * 8 + 2 * 4;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::SLIDING_WINDOW);
        out.u64(self.at.as_micros());
        out.u64(self.period);
        out.u32(self.previous);
        out.u32(self.current);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::SLIDING_WINDOW)?;
        let (at, period) = (Timestamp::from_micros(input.u64()?), input.u64()?);
        let state = Self { at, period, previous: input.u32()?, current: input.u32()? };
        // The first window of all has no previous one.
        let counted = Rate::is_period(period) && (state.previous == 0 || at.as_micros() >= period);
        // A state with nothing in use has one encoded form: that of a key never seen.
        let canonical = state == Self::new(at, period, state.previous, state.current);
        if canonical && (counted || state == Self::default()) { Ok(state) } else { Err(DecodeError) }
    }
}

/// Returns `⌊count · left / period⌋`, the part of a window's count that overlaps. `left` is at most `period`.
fn share(count: u32, left: u64, period: u64) -> u32 {
    let share = match u64::from(count).checked_mul(left) {
        Some(product) => divide(product, period).0,
        None => scale_down(count.into(), left, period),
    };
    // At most the count, since `left` is at most the period.
    share as u32
}

/// Returns the most of a window that may be left for its count's share to fit into `room`.
fn most_left(room: u32, count: u32, period: u64) -> u64 {
    if room >= count {
        return period;
    }
    // ⌊count · left / period⌋ ≤ room holds for left ≤ ⌈(room + 1) · period / count⌉ − 1.
    match (u64::from(room) + 1).checked_mul(period) {
        Some(product) => divide(product.saturating_sub(1), count.into()).0,
        None => scale_up(u64::from(room) + 1, period, count.into()).saturating_sub(1),
    }
}

/// The counts at the time of decision, in the windows of a limit.
struct WindowCounts {
    at: Timestamp,
    /// The part of the present window that has gone, in microseconds.
    elapsed: u64,
    period: u64,
    previous: u32,
    current: u32,
}

impl WindowCounts {
    fn used(&self) -> u64 {
        u64::from(self.current) + u64::from(share(self.previous, self.to_end(), self.period))
    }

    /// Returns the part of the present window that is left, in microseconds.
    const fn to_end(&self) -> u64 {
        self.period - self.elapsed
    }

    /// Returns the microseconds until at most `room` is in use. More than `room` must be in use now.
    fn wait(&self, room: u32) -> u64 {
        if let Some(room) = room.checked_sub(self.current) {
            let left = most_left(room, self.previous, self.period);
            if left > 0 {
                return self.to_end().saturating_sub(left);
            }
        }
        // In the next window the current count is the one that slides out, and after it nothing is in use.
        self.to_end() + self.period - most_left(room, self.current, self.period)
    }

    /// Returns the microseconds until nothing is in use, once `booked` has been charged.
    fn reset(&self, booked: u32) -> Quotient {
        let (whole, count) = match self.current.saturating_add(booked) {
            0 => (self.to_end(), self.previous),
            current => (self.to_end() + self.period, current),
        };
        // The share ⌊count · left / period⌋ is 0 from left ≤ (period − 1) / count on, so the wait is
        // whole − (period − 1) / count. It is divided when it is read.
        match whole.checked_mul(count.into()) {
            _ if count == 0 => Quotient::ZERO,
            Some(all) => Quotient { num: all.saturating_sub(self.period - 1), den: count.into() },
            None => Quotient::whole(whole.saturating_sub(most_left(0, count, self.period))),
        }
    }

    /// Returns the microseconds until at most `room` is in use, once `booked` has been charged. More than
    /// `room` must be in use then.
    fn more(&self, booked: u32, room: u32) -> Quotient {
        let then = Self { current: self.current.saturating_add(booked), ..*self };
        match u64::from(self.previous).checked_mul(self.to_end()) {
            Some(product) if then.used() == u64::from(room) + 1 => match self.previous {
                // The next window begins with the present count, and less of it a microsecond later.
                0 => Quotient::whole(self.to_end() + 1),
                // The share is one less once `product` is below its multiple of the period:
                // (product mod period + 1) / count. It is divided when it is read.
                count => Quotient { num: divide(product, self.period).1 + 1, den: count.into() },
            },
            _ => Quotient::whole(then.wait(room)),
        }
    }

    fn book(&self, cost: u32) -> SlidingWindowState {
        SlidingWindowState::new(self.at, self.period, self.previous, self.current.saturating_add(cost))
    }
}

impl SlidingWindow {
    /// Returns a window of one period that slides over the counts of two.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, period: Divisor::new(rate.period_micros()) }
    }

    /// Returns the rate whose limit holds.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Returns the counts at the time of decision. The rate must not be unlimited.
    #[inline]
    fn present(&self, state: &SlidingWindowState, now: Timestamp) -> WindowCounts {
        let period = self.rate.period_micros().max(1);
        let (previous, current) = state.counts(period);
        let at = now.max(state.at);
        // Microseconds from the start of the window that holds the state's own time.
        let since = self.period.divide(state.at.as_micros()).1.saturating_add(at.micros_since(state.at));
        let (elapsed, previous, current) = match since.checked_sub(period) {
            None => (since, previous, current),
            Some(elapsed) if elapsed < period => (elapsed, current, 0),
            Some(_) => (self.period.divide(at.as_micros()).1, 0, 0),
        };
        // A previous count whose share has become 0 is as if it had never been.
        let counts = u64::from(previous).checked_mul(period - elapsed).is_none_or(|share| share >= period);
        WindowCounts { at, elapsed, period, previous: if counts { previous } else { 0 }, current }
    }
}

impl Strategy for SlidingWindow {
    type State = SlidingWindowState;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = SlidingWindowStat;

    #[inline]
    fn decide(&self, state: &mut SlidingWindowState, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate.is_unlimited() {
            return Decision::unlimited();
        }
        let present = self.present(state, now);
        let usage = WindowUsage {
            rate: self.rate,
            now,
            used: present.used(),
            max_ttl: self.max_ttl(),
            receipt: Receipt { unit: present.period, ..Receipt::new(present.at) },
        };
        let more = |booked, room| present.more(booked, room);
        let decision = usage.decide(hit, |room| present.wait(room), |booked| present.reset(booked), more);
        if decision.is_allowed() && hit.cost > 0 {
            *state = present.book(hit.cost);
        }
        decision
    }

    fn charge(&self, state: &mut SlidingWindowState, hit: &Hit, now: Timestamp) {
        if !self.rate.is_unlimited() && hit.cost > 0 {
            *state = self.present(state, now).book(hit.cost);
        }
    }

    /// Takes the cost back from the window that it was charged to.
    ///
    /// Changes nothing if that window is neither the state's own nor the one before, or if the period has
    /// changed since.
    fn refund(&self, state: &mut SlidingWindowState, hit: &Hit, receipt: Receipt, _: Timestamp) {
        let SlidingWindowState { at, period, mut previous, mut current } = *state;
        if period == 0 || receipt.unit != period {
            return;
        }
        let window = |at: Timestamp| divide(at.as_micros(), period).0;
        match window(at).checked_sub(window(receipt.at)) {
            Some(0) => current = current.saturating_sub(hit.cost),
            Some(1) => previous = previous.saturating_sub(hit.cost),
            _ => {}
        }
        *state = SlidingWindowState::new(at, period, previous, current);
    }

    #[inline]
    fn expires_at(&self, state: &SlidingWindowState, _: Class) -> Timestamp {
        state.at.plus_micros(self.present(state, state.at).reset(0).ceil())
    }

    /// Returns two periods: a hit at the start of a window counts, less and less, until the end of the next.
    fn max_ttl(&self) -> u64 {
        2 * self.rate.period_micros()
    }

    /// Counts all that is in use as used now, since the overlap differs at another place in the window.
    fn rebase(&self, state: &mut SlidingWindowState, now: Timestamp) -> bool {
        let is_ahead = is_ahead(state.at, now, self.max_ttl());
        if is_ahead {
            let present = self.present(state, state.at);
            let used = u32::try_from(present.used()).unwrap_or(u32::MAX);
            *state = SlidingWindowState::new(now, present.period, 0, used);
        }
        is_ahead
    }

    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let (period, limit) = (self.rate.period_micros(), self.rate.limit());
        ScriptLimit::windowed(self.rate, hit, visit, ScriptFormula::Sliding { period, limit })
    }

    fn stat(&self, state: &SlidingWindowState, _: Class, now: Timestamp) -> SlidingWindowStat {
        let present = self.present(state, now);
        SlidingWindowStat {
            window_start: Timestamp::from_micros(present.at.as_micros() - present.elapsed),
            window_end: present.at.plus_micros(present.to_end()),
            current_count: present.current,
            previous_count: present.previous,
            weighted_count: present.used(),
        }
    }

    /// Checks `limit · period`: a script multiplies a count by a time, neither above the limit or the period.
    fn fits_script(&self) -> Result<(), CapacityError> {
        CapacityError::unless_exact(self.rate.limit(), self.rate.period_micros())
    }
}

impl Scale for SlidingWindow {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(Self { rate: self.rate.scaled(ratio), ..*self })
    }
}

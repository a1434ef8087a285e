//! Sliding window: the count of the present window, and of the one before it the part that still overlaps.

use super::math::rebase::is_ahead;
use super::math::tally::Tally;
use super::wire::stats::stat;
use super::{
    Bounds, CapacityError, Class, DecodeError, FixedWindow, Hit, Reader, Scale, ScriptFormula, ScriptLimit,
    State, Strategy, Writer,
};
use crate::decision::Quotient;
use crate::divide::{Divisor, divide, scale_down, scale_up};
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

#[cfg(test)]
mod tests;

/// Counts in windows of one period, aligned to the clock, and carries the last window over as it slides out.
///
/// With `e` of the present window gone, what is in use is `current + ⌊previous · (period − e) / period⌋`. So
/// at most the limit passes in each aligned window, as with a fixed window, but a burst has to be made up for
/// in the next one: steady traffic sees the limit in every period, not twice at a boundary. A burst at the
/// very end of one window, followed up all through the next, still comes near twice the limit;
/// [`strict`](Self::strict) never does.
///
/// To a client that always asks for cost `c` again this admits `c · ⌊limit / c⌋` in each window, and so it
/// does to traffic that comes steadily at the limit, however small that is: of the window before whole costs
/// count alone. At more than one per microsecond `⌊limit / period⌋` of it stay in use to the end, and each
/// window that follows the first admits so much less.
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
/// let mut at = |second: u64, cost| window.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(second * 1_000_000));
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
/// `limiter.stat("alice")?.weighted_count` reads one of them and charges nobody.
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
    /// That of the rate, in microseconds.
    period: Divisor,
}

/// The state of a sliding window: what was used in the window that holds the last hit, and in the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SlidingWindowState {
    /// The time of the last hit that was booked.
    at: Timestamp,
    /// How long the windows are that were counted in; kept because a limit may change under its state. 0 in a
    /// state never used.
    period: u64,
    previous: u32,
    current: u32,
}

stat! {
    /// A sliding window's own figures.
    pub struct SlidingWindowStat {
        /// When the present window began.
        pub window_start: Timestamp,
        /// When it ends, and the next one begins.
        pub window_end: Timestamp,
        /// The cost used in it.
        pub current_count: u32,
        /// The cost used in the window before it, as long as some of that counts.
        pub previous_count: u32,
        /// The cost that counts as in use: the present window, and as much of the one before as still
        /// overlaps.
        pub weighted_count: u64,
    }
}

impl SlidingWindowState {
    fn new(at: Timestamp, period: u64, previous: u32, current: u32) -> Self {
        if previous == 0 && current == 0 { Self::default() } else { Self { at, period, previous, current } }
    }

    /// The counts in windows of this period, at the state's own time. In windows of another period than it
    /// was counted in, all that is in use counts as used at that time.
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
        // The first window of all has none before it.
        let counted = Rate::is_period(period) && (state.previous == 0 || at.as_micros() >= period);
        // Nothing used is always written as the state never used.
        let canonical = state == Self::new(at, period, state.previous, state.current);
        if canonical && (counted || state == Self::default()) { Ok(state) } else { Err(DecodeError) }
    }
}

/// `⌊count · left / period⌋`: how much of a window's count still overlaps. `left` is at most the period.
fn share(count: u32, left: u64, period: u64) -> u32 {
    let share = match u64::from(count).checked_mul(left) {
        Some(product) => divide(product, period).0,
        None => scale_down(count.into(), left, period),
    };
    // No more than the count, since `left` is no more than the period.
    share as u32
}

/// The most of a window that may be left for its count's share to fit into `room`.
fn most_left(room: u32, count: u32, period: u64) -> u64 {
    if room >= count {
        return period;
    }
    // The share is less than `room + 1`.
    match (u64::from(room) + 1).checked_mul(period) {
        Some(product) => divide(product.saturating_sub(1), count.into()).0,
        None => scale_up(u64::from(room) + 1, period, count.into()).saturating_sub(1),
    }
}

/// The counts at a time, in the windows of a limit.
struct Present {
    at: Timestamp,
    /// How far the present window has gone.
    elapsed: u64,
    period: u64,
    previous: u32,
    current: u32,
}

impl Present {
    fn used(&self) -> u64 {
        u64::from(self.current) + u64::from(share(self.previous, self.to_end(), self.period))
    }

    /// How much of the present window is left.
    const fn to_end(&self) -> u64 {
        self.period - self.elapsed
    }

    /// How long until at most `room` is in use. Only for a room that is exceeded.
    fn wait(&self, room: u32) -> u64 {
        if let Some(room) = room.checked_sub(self.current) {
            let left = most_left(room, self.previous, self.period);
            if left > 0 {
                return self.to_end().saturating_sub(left);
            }
        }
        // In the next window what is now current is what slides out, and in the one after that nothing is.
        self.to_end() + self.period - most_left(room, self.current, self.period)
    }

    /// How long until nothing is in use any more, once `booked` is.
    fn reset(&self, booked: u32) -> Quotient {
        let (whole, count) = match self.current.saturating_add(booked) {
            0 => (self.to_end(), self.previous),
            current => (self.to_end() + self.period, current),
        };
        // The count's share is less than 1 for the last `(period − 1) / count` of its time. Divided when it
        // is read.
        match whole.checked_mul(count.into()) {
            _ if count == 0 => Quotient::ZERO,
            Some(all) => Quotient { num: all.saturating_sub(self.period - 1), den: count.into() },
            None => Quotient::whole(whole.saturating_sub(most_left(0, count, self.period))),
        }
    }

    /// How long until no more than `room` is in use, once `booked` is. Only for a room that is exceeded.
    fn more(&self, booked: u32, room: u32) -> Quotient {
        let then = Self { current: self.current.saturating_add(booked), ..*self };
        match u64::from(self.previous).checked_mul(self.to_end()) {
            Some(product) if then.used() == u64::from(room) + 1 => match self.previous {
                // The next window begins with what is now current, and less of it a microsecond later.
                0 => Quotient::whole(self.to_end() + 1),
                // The share is one less once `product` is below its multiple of the period. Divided when it
                // is read.
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
    /// A window of one period that slides over the counts of two.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, period: Divisor::new(rate.period_micros()) }
    }

    /// The rate it counts against.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The counts at the time a state decides at. Not for an unlimited rate.
    #[inline]
    fn present(&self, state: &SlidingWindowState, now: Timestamp) -> Present {
        let period = self.rate.period_micros().max(1);
        let (previous, current) = state.counts(period);
        let at = now.max(state.at);
        // From the start of the window that holds the state's own time.
        let since = self.period.divide(state.at.as_micros()).1.saturating_add(at.micros_since(state.at));
        let (elapsed, previous, current) = match since.checked_sub(period) {
            None => (since, previous, current),
            Some(elapsed) if elapsed < period => (elapsed, current, 0),
            Some(_) => (self.period.divide(at.as_micros()).1, 0, 0),
        };
        // What counts for nothing from now on is as if it had never been.
        let counts = u64::from(previous).checked_mul(period - elapsed).is_none_or(|share| share >= period);
        Present { at, elapsed, period, previous: if counts { previous } else { 0 }, current }
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
        let tally = Tally {
            rate: self.rate,
            now,
            used: present.used(),
            max_ttl: self.max_ttl(),
            receipt: Receipt { unit: present.period, ..Receipt::new(present.at) },
        };
        let more = |booked, room| present.more(booked, room);
        let decision = tally.decide(hit, |room| present.wait(room), |booked| present.reset(booked), more);
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

    /// Takes the cost back from the count of the window it was booked in, if that is still one of the two and
    /// the windows have not become longer or shorter since.
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

    /// Two periods: a hit at the start of a window counts, if less and less, to the end of the next.
    fn max_ttl(&self) -> u64 {
        2 * self.rate.period_micros()
    }

    /// All that is in use counts as used now: how far the windows overlap is another at another time of them.
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

    /// A script multiplies a count by a time, neither above the limit and the period.
    fn fits_script(&self) -> Result<(), CapacityError> {
        CapacityError::unless_exact(self.rate.limit(), self.rate.period_micros())
    }
}

impl Scale for SlidingWindow {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(Self { rate: self.rate.scaled(ratio), ..*self })
    }
}

impl Bounds for SlidingWindow {
    /// The limit in every aligned window.
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        FixedWindow::new(self.rate).most(first, last)
    }

    /// A client that always asks again has had, at any moment of a window, as many whole costs as fit beside
    /// the share of the window before. Having had all that fits in the first window, it has `rest` in the
    /// second when that ends, and at least so much in each later one, since it starts beside no more. More
    /// in a window than `rest` is taken from the next at most one for one, so the sum is never less than if
    /// every window but the first had `rest`. If `rest` is nothing, the window after that starts afresh.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        let (period, cost) = (self.rate.period_micros(), cost.max(1));
        if period == 0 {
            return u128::MAX;
        }
        let beside = |previous: u32, left: u64| {
            self.rate.limit().saturating_sub(share(previous, left, period)) / cost * cost
        };
        let all = beside(0, 0);
        let rest = beside(all, 1);
        let left = period - last.as_micros() % period;
        let (all, rest) = (u128::from(all), (rest, u128::from(rest)));
        match (last.as_micros() / period).saturating_sub(first.as_micros() / period) {
            0 => all,
            windows if rest.0 == 0 => all * (1 + u128::from(windows / 2)),
            1 => all + u128::from(beside(all as u32, left)),
            windows => all + rest.1 * u128::from(windows - 1) + u128::from(beside(rest.0, left)),
        }
    }
}

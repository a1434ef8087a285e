//! The strict window: counts in buckets of the period, and counts the oldest bucket in full.

use super::math::rebase::is_ahead;
use super::math::window_usage::WindowUsage;
use super::wire::stats::stat;
use super::{
    Bounds, CapacityError, Class, Hit, Scale, ScriptFormula, ScriptLimit, SlidingWindow, Strategy,
    StrategyError,
};
use crate::decision::Quotient;
use crate::divide::divide_up;
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

mod state;
pub use state::StrictWindowState;
use state::{BucketCounts, Grid};

/// Admits at most the limit in any period, wherever it starts, and counts in at most `N` buckets per period.
///
/// Choose it for a hard limit above a few hundred. [`SlidingLog`](crate::SlidingLog) is exact but takes 12
/// bytes for each hit; [`SlidingWindow`] takes 24 bytes but can exceed the limit. The state takes
/// `28 + 4 · N` bytes, rounded up to 8. [`SlidingWindow::strict`] makes one.
///
/// Buckets are equally long and aligned to the clock. A bucket counts in full as long as any microsecond of
/// it lies in the last period, so a hit is held for up to one bucket longer than the period. With `k`
/// [`buckets`](Self::buckets), evenly spread traffic gets `k / (k + 1)` of the limit: 91 % with 10, 98 % with
/// 60. With as many buckets as the period has microseconds it is an exact log.
///
/// A client that always asks for cost `c` gets `c · ⌊limit / c⌋` at once, the same again after at most a
/// period and a bucket, and from then on in every period.
///
/// Bucket `i` starts at `⌈i · period / k⌉`. Where that is rounded, lengths differ by 1 µs, and any `k`
/// consecutive buckets still make one period exactly.
///
/// 4 per 10 s in 5 buckets of 2 s:
///
/// | at | cost | decided | in use after it |
/// |---|---|---|---|
/// | 13 s | 3 | allow | 3, in the bucket from 12 s on |
/// | 19 s | 1 | allow | 4 |
/// | 20 s | 2 | deny, retry after 3.999999 s | 4: the bucket of 13 s ends at 13.999999 s |
/// | 23.999999 s | 2 | allow | 3 |
/// | 24 s | 5 | never | 3 |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Hit, Outcome, SlidingWindow, Strategy, Timestamp, rate};
///
/// let window = SlidingWindow::strict::<8>(rate!("4/10s")).buckets(5)?;
/// let mut state = Default::default();
/// let mut at = |micros: u64, cost| {
///     window.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(micros))
/// };
///
/// assert_eq!(at(13_000_000, 3).remaining(), 1);
/// assert_eq!(at(19_000_000, 1).remaining(), 0);
/// assert_eq!(at(20_000_000, 2).retry_after(), Some(Duration::from_micros(3_999_999)));
/// assert_eq!(at(23_999_999, 2).remaining(), 1);
/// assert_eq!(at(24_000_000, 5).outcome(), Outcome::Never);
/// # Ok::<(), traffik::StrategyError>(())
/// ```
///
/// Source: the "jumping window" of E. Rathgeb, "Modeling and performance comparison of policing mechanisms
/// for ATM networks", IEEE Journal on Selected Areas in Communications 9(3), 1991, in steps finer than its
/// length.
///
/// # Figures
///
/// `limiter.stat("alice")?.current_count` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `window_start` | `Timestamp` | start of the oldest bucket that counts |
/// | `window_end` | `Timestamp` | end of the present bucket |
/// | `current_count` | `u32`, cost | use in the present bucket |
/// | `previous_count` | `u64`, cost | use in the buckets before it that still count |
/// | `buckets` | `u32` | buckets to a period |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrictWindow<const N: usize> {
    rate: Rate,
    grid: Grid,
}

stat! {
    /// The figures of a [`StrictWindow`].
    ///
    /// ```
    /// use traffik::{Class, SlidingWindow, Strategy, Timestamp, rate};
    ///
    /// let window = SlidingWindow::strict::<4>(rate!("2/s"));
    /// let stat = window.stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.current_count, stat.buckets), (0, 4));
    /// ```
    pub struct StrictWindowStat {
        /// The start of the oldest bucket that counts.
        pub window_start: Timestamp,
        /// The end of the present bucket.
        pub window_end: Timestamp,
        /// The cost used in the present bucket.
        pub current_count: u32,
        /// The cost used in the buckets before it that still count.
        pub previous_count: u64,
        /// The number of buckets per period.
        pub buckets: u32,
    }
}

impl SlidingWindow {
    /// Returns a window that never exceeds the limit in any period, with `N` buckets (1 to 65 535).
    #[must_use]
    pub const fn strict<const N: usize>(rate: Rate) -> StrictWindow<N> {
        const { assert!(N > 0 && N < 1 << 16, "a strict window has 1 to 65535 buckets") }
        StrictWindow { rate, grid: Grid { period: rate.period_micros(), buckets: N as u32 } }
    }
}

impl<const N: usize> StrictWindow<N> {
    /// Sets the number of buckets per period, from 1 to `N`. Defaults to `N`.
    ///
    /// # Errors
    ///
    /// Fails with [`Buckets`](StrategyError::Buckets) unless the number is from 1 to `N`.
    pub const fn buckets(self, buckets: u32) -> Result<Self, StrategyError> {
        if buckets == 0 || buckets as usize > N {
            return Err(StrategyError::Buckets { asked: buckets, most: N as u32 });
        }
        Ok(Self { grid: Grid { buckets, ..self.grid }, ..self })
    }

    /// Returns the rate, whose limit holds in any window of one period.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    #[inline]
    fn verdict(&self, present: &BucketCounts<'_, N>, hit: &Hit, now: Timestamp) -> Decision {
        // The receipt records the buckets, so that a refund notices when they have changed.
        let Grid { period: unit, buckets } = self.grid;
        let usage = WindowUsage {
            rate: self.rate,
            now,
            used: present.used(),
            max_ttl: self.max_ttl(),
            receipt: Receipt { level: buckets.into(), unit, ..Receipt::new(present.at) },
        };
        let used = usage.used;
        let reset = |booked| Quotient::whole(present.reset(booked));
        // One more can be had once the oldest used bucket goes, unless more than one cost has to go.
        let more = |booked: u32, room: u32| {
            Quotient::whole(match used {
                0 => present.reset(booked),
                _ if used + u64::from(booked) == u64::from(room) + 1 => present.oldest_gone(),
                _ => present.wait(room),
            })
        };
        usage.decide(hit, |room| present.wait(room), reset, more)
    }
}

impl<const N: usize> Strategy for StrictWindow<N> {
    type State = StrictWindowState<N>;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = StrictWindowStat;

    #[inline]
    fn decide(&self, state: &mut StrictWindowState<N>, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate.is_unlimited() {
            return Decision::unlimited();
        }
        // Holds the state in the buckets of this window, if it was counted in others.
        let mut room = None;
        let present = state.on(self.grid, &mut room).present(now);
        let decision = self.verdict(&present, hit, now);
        if decision.is_allowed() && hit.cost > 0 {
            *state = present.book(hit.cost);
        }
        decision
    }

    fn peek(&self, state: &StrictWindowState<N>, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate.is_unlimited() {
            return Decision::unlimited();
        }
        self.verdict(&state.on(self.grid, &mut None).present(now), hit, now)
    }

    fn charge(&self, state: &mut StrictWindowState<N>, hit: &Hit, now: Timestamp) {
        if !self.rate.is_unlimited() && hit.cost > 0 {
            *state = state.on(self.grid, &mut None).present(now).book(hit.cost);
        }
    }

    /// Takes the cost back from the bucket that it was charged to.
    ///
    /// Changes nothing if that bucket is gone, or if the buckets have changed since.
    fn refund(&self, state: &mut StrictWindowState<N>, hit: &Hit, receipt: Receipt, _: Timestamp) {
        let grid = state.grid;
        if (receipt.level, receipt.unit) != (grid.buckets.into(), grid.period) {
            return;
        }
        let ((own, _), (booked, _)) = (grid.span(state.at), grid.span(receipt.at));
        let Some(ago) = own.checked_sub(booked) else { return };
        // Bucket 0 is the current one, and bucket i the i-th before it.
        let ago = usize::try_from(ago).unwrap_or(usize::MAX);
        if let Some(count) = core::iter::once(&mut state.current).chain(&mut state.earlier).nth(ago) {
            *count = count.saturating_sub(hit.cost);
            *state = state.settled();
        }
    }

    #[inline]
    fn expires_at(&self, state: &StrictWindowState<N>, _: Class) -> Timestamp {
        state.at.plus_micros(state.on(self.grid, &mut None).present(state.at).reset(0))
    }

    /// Returns one period and one bucket.
    fn max_ttl(&self) -> u64 {
        let Grid { period, buckets } = self.grid;
        period + divide_up(period, buckets.into())
    }

    /// Counts all that is in use as used now.
    fn rebase(&self, state: &mut StrictWindowState<N>, now: Timestamp) -> bool {
        let is_ahead = is_ahead(state.at, now, 0);
        if is_ahead {
            // The buckets of the future mean nothing now, so their sum moves to the present one.
            let used = state.present(state.at).used();
            let current = u32::try_from(used).unwrap_or(u32::MAX);
            *state = StrictWindowState { at: now, grid: state.grid, current, earlier: [0; N] }.settled();
        }
        is_ahead
    }

    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let Grid { period, buckets } = self.grid;
        let formula = ScriptFormula::Strict { period, buckets, limit: self.rate.limit(), room: N as u32 };
        // A script computes (time within a period) · buckets, which is exact in a double below 2⁵³.
        period.saturating_mul(buckets.into()) < 1 << 53
            && ScriptLimit::windowed(self.rate, hit, visit, formula)
    }

    fn stat(&self, state: &StrictWindowState<N>, _: Class, now: Timestamp) -> StrictWindowStat {
        let mut room = None;
        let present = state.on(self.grid, &mut room).present(now);
        let current_count = present.current();
        StrictWindowStat {
            window_start: self.grid.start(present.oldest),
            window_end: self.grid.start(present.newest + 1),
            current_count,
            previous_count: present.used() - u64::from(current_count),
            buckets: self.grid.buckets,
        }
    }
}

impl<const N: usize> Scale for StrictWindow<N> {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Ok(Self { rate: self.rate.scaled(ratio), ..*self })
    }
}

impl<const N: usize> Bounds for StrictWindow<N> {
    /// Bounds any window of one period by the limit, wherever it starts.
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        match last.micros_since(first).checked_div(self.grid.period) {
            None => u128::MAX,
            Some(periods) => (u128::from(periods) + 1) * u128::from(self.rate.limit()),
        }
    }

    /// Promises `⌊limit / cost⌋ · cost` at once, again when the first bucket goes, and then every period.
    ///
    /// The first bucket goes with its last microsecond. A hit taken at that microsecond is in turn the last
    /// of its bucket, so the same fits again a period later, and so on.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        if self.rate.is_unlimited() {
            return u128::MAX;
        }
        let cost = cost.max(1);
        let all = u128::from(self.rate.limit() / cost * cost);
        let (bucket, _) = self.grid.span(first);
        let again = self.grid.end(bucket);
        let periods = last.micros_since(again) / self.grid.period.max(1);
        // At the end of time no bucket goes any more.
        if last < again || again == Timestamp::MAX { all } else { all * (2 + u128::from(periods)) }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    type Strict = StrictWindow<4>;

    const fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn strict(limit: u32, period: u64, buckets: u32) -> Strict {
        let rate = Rate::new(limit, Duration::from_micros(period)).unwrap();
        SlidingWindow::strict(rate).buckets(buckets).unwrap()
    }

    #[test]
    fn buckets_beyond_the_room_are_refused_with_what_fits() {
        let window = SlidingWindow::strict::<4>(Rate::per_second(5));
        assert_eq!(window, window.buckets(4).unwrap(), "all there is room for, if not said otherwise");
        for asked in [0, 5, u32::MAX] {
            assert_eq!(window.buckets(asked), Err(StrategyError::Buckets { asked, most: 4 }));
        }
        let text = "a strict window with room for 4 buckets cannot count in 5; give 1 to 4";
        assert_eq!(window.buckets(5).unwrap_err().to_string(), text);
    }

    #[test]
    fn buckets_that_are_no_whole_microseconds_make_a_period_exactly() {
        let grid = strict(1, 10, 4).grid;
        let starts: [u64; 5] = core::array::from_fn(|number| grid.start(number as u128).as_micros());
        assert_eq!(starts, [0, 3, 5, 8, 10]);
        for time in 0..40 {
            let (newest, oldest) = grid.span(at(time));
            assert!(grid.start(newest) <= at(time) && at(time) < grid.start(newest + 1));
            assert!(grid.end(oldest) > at(time), "the oldest reaches into the period");
            assert!(oldest == 0 || grid.end(oldest - 1) <= at(time), "and the one before does not");
        }
    }

    #[test]
    fn with_a_bucket_a_microsecond_it_is_an_exact_log() {
        for period in 1..=4 {
            let window = strict(1, period, 4);
            let mut state = StrictWindowState::default();
            let admitted =
                (0..24).filter(|time| window.decide(&mut state, &Hit::new(1), at(*time)).is_allowed());
            assert_eq!(admitted.count() as u64, 24 / period);
        }
    }

    #[test]
    fn other_buckets_keep_what_is_in_use() {
        let (coarse, fine) = (strict(9, 100, 2), strict(9, 100, 4));
        let mut state = StrictWindowState::default();
        assert!(coarse.decide(&mut state, &Hit::new(4), at(130)).is_allowed());
        assert!(coarse.decide(&mut state, &Hit::new(2), at(170)).is_allowed());
        assert_eq!(fine.peek(&state, &Hit::new(0), at(170)).remaining(), 3);
        assert_eq!(fine.peek(&state, &Hit::new(0), at(273)).remaining(), 3, "as used at 170, in 150 to 174");
        assert_eq!(fine.peek(&state, &Hit::new(0), at(274)).remaining(), 9);
    }

    #[test]
    fn stat_shows_the_counts_and_their_start() {
        let window = strict(9, 100, 4);
        let mut state = StrictWindowState::default();
        assert!(window.decide(&mut state, &Hit::new(4), at(130)).is_allowed());
        assert!(window.decide(&mut state, &Hit::new(2), at(170)).is_allowed());
        let stat = window.stat(&state, Class::default(), at(171));
        assert_eq!((stat.window_start, stat.window_end, stat.buckets), (at(50), at(175), 4));
        assert_eq!((stat.current_count, stat.previous_count), (2, 4));
        let stat = window.stat(&state, Class::default(), at(260));
        assert_eq!((stat.current_count, stat.previous_count), (0, 2));
    }

    #[test]
    fn a_refund_finds_its_bucket_or_frees_nothing() {
        let window = strict(9, 100, 4);
        let mut state = StrictWindowState::default();
        let receipt = window.decide(&mut state, &Hit::new(4), at(130)).receipt();
        assert!(window.decide(&mut state, &Hit::new(2), at(170)).is_allowed());
        let before = state;
        window.refund(&mut state, &Hit::new(4), Receipt { at: at(100), ..receipt }, at(170));
        window.refund(&mut state, &Hit::new(4), Receipt { at: at(190), ..receipt }, at(170));
        window.refund(&mut state, &Hit::new(4), Receipt { unit: 50, ..receipt }, at(170));
        assert_eq!(state, before);
        window.refund(&mut state, &Hit::new(4), receipt, at(170));
        assert_eq!(window.peek(&state, &Hit::new(0), at(170)).remaining(), 7);
    }
}

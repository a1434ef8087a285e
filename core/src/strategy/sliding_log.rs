//! The sliding log: records when each cost was used, and so counts any window of one period exactly.

use core::marker::PhantomData;

use super::math::rebase::is_ahead;
use super::math::window_usage::WindowUsage;
use super::wire::stats::stat;
use super::{Bounds, CapacityError, Class, Hit, Scale, ScriptFormula, ScriptLimit, Strategy, StrategyError};
use crate::decision::Quotient;
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

#[cfg(feature = "alloc")]
mod heap;
mod ring;

#[cfg(feature = "alloc")]
pub use heap::{Heap, HeapLog, HeapLogState};
use ring::Entry;
pub(crate) use ring::Room;
pub use ring::{Inline, LogState};

/// Admits at most the limit in every window of one period, exactly.
///
/// Choose it for an exact limit, known when the program is built, with `N` from 1 to 65 536. `HeapLog`
/// (feature `alloc`) holds a limit known at run time, [`StrictWindow`](crate::StrictWindow) counts larger
/// limits in little space, and [`SlidingWindow`](crate::SlidingWindow) is cheapest but inexact. The state
/// takes 12 bytes for each of `N` entries, and 12 more.
///
/// A cost used at `t` counts until just before `t + period`. A client that always asks for cost `c` gets
/// `c · ⌊limit / c⌋` at once and then in every period: no strategy that keeps the limit admits more.
///
/// Costs used at the same time share an entry. A check searches the entries in halves, so its work grows with
/// the logarithm of their number, whatever the outcome; that of a refund grows with their number. `new(rate)`
/// fails if the limit of the rate exceeds `N`; `rate()` returns that rate.
///
/// 4 per 10 s:
///
/// | at | cost | decided | in use after it |
/// |---|---|---|---|
/// | 12 s | 1 | allow | 1 |
/// | 15 s | 3 | allow | 4 |
/// | 20 s | 1 | deny, retry after 2 s | 4 |
/// | 20 s | 2 | deny, retry after 5 s | 4 |
/// | 22 s | 1 | allow | 4 |
/// | 22 s | 5 | never | 4 |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Hit, Outcome, SlidingLog, Strategy, Timestamp, rate};
///
/// let log = SlidingLog::<16>::new(rate!("4/10s"))?;
/// let mut state = Default::default();
/// let mut at = |second: u64, cost| {
///     log.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(second * 1_000_000))
/// };
///
/// assert_eq!(at(12, 1).remaining(), 3);
/// assert_eq!(at(15, 3).remaining(), 0);
/// assert_eq!(at(20, 1).retry_after(), Some(Duration::from_secs(2)));
/// assert_eq!(at(20, 2).retry_after(), Some(Duration::from_secs(5)));
/// assert_eq!(at(22, 1).remaining(), 0);
/// assert_eq!(at(22, 5).outcome(), Outcome::Never);
/// # Ok::<(), traffik::StrategyError>(())
/// ```
///
/// Source: the definition of a limit per period itself; as an algorithm, the sliding window log of the
/// industry's handbooks.
///
/// # Figures
///
/// `limiter.stat("alice")?.entry_count` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `entry_count` | `u32`, times | times in the last period at which something was used |
/// | `current_cost_sum` | `u32`, cost | use in the last period |
/// | `oldest_entry` | `Option<Timestamp>` | first of those times |
pub type SlidingLog<const N: usize> = Log<Inline<N>>;

/// The state of a [`SlidingLog`].
pub type SlidingLogState<const N: usize> = LogState<Inline<N>>;

/// An exact log over either kind of storage: [`SlidingLog`] keeps its entries inline, `HeapLog` on the heap.
///
/// ```
/// use traffik::strategy::Log;
/// use traffik::{SlidingLog, rate};
///
/// let log: Log<_> = SlidingLog::<16>::new(rate!("4/10s"))?;
/// assert_eq!(log.rate().limit(), 4);
/// # Ok::<(), traffik::StrategyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log<R: Room> {
    rate: Rate,
    room: PhantomData<R>,
}

stat! {
    /// The figures of a [`SlidingLog`].
    ///
    /// ```
    /// use traffik::{Class, SlidingLog, Strategy, Timestamp, rate};
    ///
    /// let log = SlidingLog::<8>::new(rate!("4/s"))?;
    /// let stat = log.stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.entry_count, stat.current_cost_sum), (0, 0));
    /// # Ok::<(), traffik::StrategyError>(())
    /// ```
    pub struct SlidingLogStat {
        /// The number of times in the last period at which a cost was used.
        pub entry_count: u32,
        /// The cost used in the last period.
        pub current_cost_sum: u32,
        /// The first of those times.
        pub oldest_entry: Option<Timestamp>,
    }
}

/// The entries of a log that count at the time of decision.
struct LogWindow<'a, R: Room> {
    log: &'a LogState<R>,
    at: Timestamp,
    period: u64,
    /// The place of the first entry that counts.
    first: u32,
    used: u32,
}

impl<R: Room> Log<R> {
    /// Returns a log that holds up to the limit of this rate.
    ///
    /// # Errors
    ///
    /// Fails with [`LogTooSmall`](StrategyError::LogTooSmall) if the limit exceeds the number of entries.
    pub const fn new(rate: Rate) -> Result<Self, StrategyError> {
        let (limit, entries) = (rate.limit(), R::LARGEST);
        if limit > entries && !rate.is_unlimited() {
            return Err(StrategyError::LogTooSmall { limit, entries });
        }
        Ok(Self { rate, room: PhantomData })
    }

    /// Returns the rate, whose limit holds for every window of one period.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    #[inline]
    fn present<'a>(&self, log: &'a LogState<R>, now: Timestamp) -> LogWindow<'a, R> {
        // An entry used at `t` counts while at − t < period.
        let (at, period) = (now.max(log.last()), self.rate.period_micros());
        let first = log.first(0, |_, entry| at.micros_since(entry.at()) < period);
        LogWindow { log, at, period, first, used: log.used_from(first) }
    }

    #[inline]
    fn verdict(&self, present: &LogWindow<'_, R>, hit: &Hit, now: Timestamp) -> Decision {
        let usage = WindowUsage {
            rate: self.rate,
            now,
            used: present.used.into(),
            max_ttl: self.max_ttl(),
            receipt: Receipt::new(present.at),
        };
        let until_gone = || present.until_gone(present.log.last());
        // After an admission the new entry is the last to go, a period from now.
        let reset = |booked| Quotient::whole(if booked == 0 { until_gone() } else { present.period });
        // A script returns only what decides, without the oldest entry, so `more_after` is not known.
        usage.decide(hit, |room| present.wait(room), reset, |_, _| Quotient::ZERO)
    }

    /// Charges a cost. The sum with the cost in use must fit 32 bits.
    fn book(state: &mut LogState<R>, (first, at): (u32, Timestamp), cost: u32) {
        state.forget(first);
        state.push(at, cost);
    }
}

impl<R: Room> LogWindow<'_, R> {
    /// Returns the microseconds until at most `room` is in use. More than `room` must be in use now.
    fn wait(&self, room: u32) -> u64 {
        // The entries after the one that goes last hold at most `room`.
        let last_to_go = self.log.first(self.first, |place, _| self.log.used_from(place + 1) <= room);
        self.until_gone(self.log.entry(last_to_go).unwrap_or_default().at())
    }

    /// Returns the microseconds until a cost used at `used` no longer counts.
    fn until_gone(&self, used: Timestamp) -> u64 {
        self.period.saturating_sub(self.at.micros_since(used))
    }
}

impl<R: Room> Strategy for Log<R> {
    type State = LogState<R>;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = SlidingLogStat;

    #[inline]
    fn decide(&self, state: &mut LogState<R>, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate.is_unlimited() {
            return Decision::unlimited();
        }
        let present = self.present(state, now);
        let decision = self.verdict(&present, hit, now);
        if decision.is_allowed() && hit.cost > 0 {
            Self::book(state, (present.first, present.at), hit.cost);
        }
        decision
    }

    /// Decides without a copy of the log.
    #[inline]
    fn peek(&self, state: &LogState<R>, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate.is_unlimited() {
            return Decision::unlimited();
        }
        self.verdict(&self.present(state, now), hit, now)
    }

    /// Adds the cost to the newest entry if there is no room for another; that entry then counts as used now.
    fn charge(&self, state: &mut LogState<R>, hit: &Hit, now: Timestamp) {
        let LogWindow { at, first, used, .. } = self.present(state, now);
        // No more than 32 bits may be in use, or the wrapping sums would be ambiguous.
        let cost = hit.cost.min(u32::MAX - used);
        if !self.rate.is_unlimited() && cost > 0 {
            Self::book(state, (first, at), cost);
        }
    }

    /// Takes the cost back from the entry at the time of the receipt, if the log still has it.
    fn refund(&self, state: &mut LogState<R>, hit: &Hit, receipt: Receipt, _: Timestamp) {
        state.take(receipt.at, hit.cost);
    }

    fn expires_at(&self, state: &LogState<R>, _: Class) -> Timestamp {
        if state.len() == 0 { Timestamp::EPOCH } else { state.last().plus_micros(self.rate.period_micros()) }
    }

    fn max_ttl(&self) -> u64 {
        self.rate.period_micros()
    }

    /// Counts all that is in use as used now.
    fn rebase(&self, state: &mut LogState<R>, now: Timestamp) -> bool {
        let is_ahead = is_ahead(state.last(), now, 0);
        if is_ahead {
            // One entry holds all of the use, which then leaves one period from now.
            let used = self.present(state, state.last()).used;
            state.forget(state.len());
            state.push(now, used);
        }
        is_ahead
    }

    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        let (period, limit) = (self.rate.period_micros(), self.rate.limit());
        ScriptLimit::windowed(self.rate, hit, visit, ScriptFormula::Log { period, limit, room: R::LARGEST })
    }

    fn stat(&self, state: &LogState<R>, _: Class, now: Timestamp) -> SlidingLogStat {
        let LogWindow { first, used, .. } = self.present(state, now);
        SlidingLogStat {
            entry_count: state.len() - first,
            current_cost_sum: used,
            oldest_entry: state.entry(first).map(Entry::at),
        }
    }

    // `fits_script` keeps its default: a script adds costs up to the limit and subtracts times.
}

/// Fails if the scaled limit exceeds the number of entries.
impl<R: Room> Scale for Log<R> {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Self::new(self.rate.scaled(ratio)).map_err(|_| CapacityError { largest: R::LARGEST })
    }
}

impl<R: Room> Bounds for Log<R> {
    /// Bounds every window of one period by the limit, wherever it starts.
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        match last.micros_since(first).checked_div(self.rate.period_micros()) {
            None => u128::MAX,
            Some(periods) => (u128::from(periods) + 1) * u128::from(self.rate.limit()),
        }
    }

    /// Promises `⌊limit / cost⌋ · cost` at once, and again whenever a period has passed.
    fn least(&self, first: Timestamp, last: Timestamp, cost: u32) -> u128 {
        let (cost, limit) = (cost.max(1), self.rate.limit().max(1));
        self.most(first, last) / u128::from(limit) * u128::from(self.rate.limit() / cost * cost)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::Outcome;

    fn second(second: u64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn log(text: &str) -> SlidingLog<8> {
        SlidingLog::new(text.parse().unwrap()).unwrap()
    }

    /// Defect 9 of the original: a cost above the limit raised, and a finite wait was promised for it.
    #[test]
    fn defect_9_a_cost_above_the_limit_is_never() {
        let log = log("5/10s");
        let mut state = SlidingLogState::default();
        for cost in [6, 9, u32::MAX] {
            assert_eq!(log.decide(&mut state, &Hit::new(cost), second(1)).outcome(), Outcome::Never);
            assert_eq!(state, SlidingLogState::default());
        }
        assert!(log.decide(&mut state, &Hit::new(5), second(1)).is_allowed());
        assert_eq!(log.decide(&mut state, &Hit::new(6), second(2)).outcome(), Outcome::Never);
        let denied = log.decide(&mut state, &Hit::new(5), second(2));
        assert_eq!(denied.retry_after(), Some(Duration::from_secs(9)));
    }

    #[test]
    fn a_limit_above_the_room_is_refused_with_what_fits() {
        let error = SlidingLog::<8>::new(Rate::per_second(9)).unwrap_err();
        assert_eq!(error, StrategyError::LogTooSmall { limit: 9, entries: 8 });
        assert!(error.to_string().starts_with("a log with room for 8 entries cannot hold a limit of 9; "));
        assert!(SlidingLog::<8>::new(Rate::UNLIMITED).is_ok());
        let twice = Ratio::new(2, 1).unwrap();
        assert_eq!(log("5/s").scaled(twice), Err(CapacityError { largest: 8 }));
        assert_eq!(log("4/s").scaled(twice), Ok(log("8/s")));
    }

    #[test]
    fn stat_shows_the_use_in_the_last_period() {
        let log = log("8/10s");
        let mut state = SlidingLogState::default();
        for (at, cost) in [(1, 2), (1, 1), (4, 2), (6, 1)] {
            assert!(log.decide(&mut state, &Hit::new(cost), second(at)).is_allowed());
        }
        let stat = |now| log.stat(&state, Class::default(), second(now));
        let figures = |now| (stat(now).entry_count, stat(now).current_cost_sum, stat(now).oldest_entry);
        assert_eq!(figures(6), (3, 6, Some(second(1))));
        assert_eq!(figures(11), (2, 3, Some(second(4))));
        assert_eq!(figures(16), (0, 0, None));
    }

    #[test]
    fn another_period_counts_what_was_used_in_it() {
        let (long, short) = (log("8/10s"), log("8/5s"));
        let mut state = SlidingLogState::default();
        for at in [1, 4, 6] {
            assert!(long.decide(&mut state, &Hit::new(2), second(at)).is_allowed());
        }
        let remaining = |log: SlidingLog<8>| log.peek(&state, &Hit::new(0), second(6)).remaining();
        assert_eq!((remaining(long), remaining(short)), (2, 4));
    }

    #[test]
    fn charges_beyond_the_room_are_kept_and_count_longer() {
        let log = log("8/10s");
        let mut state = SlidingLogState::default();
        for at in 0..20 {
            log.charge(&mut state, &Hit::new(1), Timestamp::from_micros(at));
        }
        let denied = log.decide(&mut state, &Hit::new(1), Timestamp::from_micros(20));
        assert_eq!(denied.retry_after(), Some(Duration::from_micros(9_999_999)), "as if used at 19 µs");
        log.charge(&mut state, &Hit::new(u32::MAX), Timestamp::from_micros(21));
        assert_eq!(log.stat(&state, Class::default(), second(1)).current_cost_sum, u32::MAX);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn on_the_heap_it_decides_the_same_and_grows_to_the_largest() {
        let limit = Rate::per_second(Heap::LARGEST);
        assert_eq!(
            HeapLog::new(Rate::per_second(65_537)),
            Err(StrategyError::LogTooSmall { limit: 65_537, entries: 65_536 })
        );
        let log = HeapLog::new(limit).unwrap();
        let mut state = HeapLogState::default();
        for at in 0..100_000 {
            log.charge(&mut state, &Hit::new(1), Timestamp::from_micros(at));
        }
        let stat = log.stat(&state, Class::default(), Timestamp::from_micros(100_000));
        assert_eq!((stat.entry_count, stat.current_cost_sum), (65_536, 100_000));
        let denied = log.decide(&mut state, &Hit::new(1), Timestamp::from_micros(100_000));
        assert_eq!(denied.retry_after(), Some(Duration::from_micros(934_464)), "34 465 have to go");
    }
}

//! Sliding log: remembers when each cost was used, and so counts any window of one period exactly.

use core::marker::PhantomData;

use super::math::rebase::is_ahead;
use super::math::tally::Tally;
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

/// Admits at most the limit in every window of one period, exactly: what was used at `t` counts up to, and not
/// with, `t + period`.
///
/// To a client that always asks for cost `c` again it admits `c · ⌊limit / c⌋` at once and then in every
/// period: no strategy that keeps that limit admits more. The price is room: 12 bytes for every time at which
/// something was used, `N` of them in the state, and so no limit above `N`. Times that are equal share one.
/// A check takes as many steps as the number of entries has bits, whatever it decides.
///
/// Choose it for an exact limit that is known when the program is built, `N` from 1 to 65 536; `HeapLog`
/// (feature `alloc`) holds any such limit, and [`StrictWindow`](crate::StrictWindow) counts larger ones in
/// little room. `new(rate)` fails if the limit of the rate exceeds `N`; `rate()` returns that rate.
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
/// let mut at = |second: u64, cost| log.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(second * 1_000_000));
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
/// `limiter.stat("alice")?.entry_count` reads one of them and charges nobody.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `entry_count` | `u32`, times | times in the last period at which something was used |
/// | `current_cost_sum` | `u32`, cost | use in the last period |
/// | `oldest_entry` | `Option<Timestamp>` | first of those times |
pub type SlidingLog<const N: usize> = Log<Inline<N>>;

/// The state of a [`SlidingLog`].
pub type SlidingLogState<const N: usize> = LogState<Inline<N>>;

/// An exact log over either kind of room: [`SlidingLog`] is the one inline, `HeapLog` the one on the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log<R: Room> {
    rate: Rate,
    room: PhantomData<R>,
}

stat! {
    /// A sliding log's own figures.
    pub struct SlidingLogStat {
        /// At how many times something was used in the last period.
        pub entry_count: u32,
        /// How much was used in it.
        pub current_cost_sum: u32,
        /// The first of those times.
        pub oldest_entry: Option<Timestamp>,
    }
}

/// The entries of a log that count at a time.
struct Present<'a, R: Room> {
    log: &'a LogState<R>,
    at: Timestamp,
    period: u64,
    /// The place of the first that counts.
    first: u32,
    used: u32,
}

impl<R: Room> Log<R> {
    /// A log that holds up to the limit of this rate.
    ///
    /// # Errors
    ///
    /// [`LogTooSmall`](StrategyError::LogTooSmall) if there is not room for as many entries as the limit.
    pub const fn new(rate: Rate) -> Result<Self, StrategyError> {
        let (limit, entries) = (rate.limit(), R::LARGEST);
        if limit > entries && !rate.is_unlimited() {
            return Err(StrategyError::LogTooSmall { limit, entries });
        }
        Ok(Self { rate, room: PhantomData })
    }

    /// The rate whose limit holds for every window of one period.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    #[inline]
    fn present<'a>(&self, log: &'a LogState<R>, now: Timestamp) -> Present<'a, R> {
        let (at, period) = (now.max(log.last()), self.rate.period_micros());
        let first = log.first(0, |_, entry| at.micros_since(entry.at()) < period);
        Present { log, at, period, first, used: log.used_from(first) }
    }

    #[inline]
    fn verdict(&self, present: &Present<'_, R>, hit: &Hit, now: Timestamp) -> Decision {
        let tally = Tally {
            rate: self.rate,
            now,
            used: present.used.into(),
            max_ttl: self.max_ttl(),
            receipt: Receipt::new(present.at),
        };
        let until_gone = || present.until_gone(present.log.last());
        let reset = |booked| Quotient::whole(if booked == 0 { until_gone() } else { present.period });
        // A store answers with what decides of a log, of which the oldest entry is no part.
        tally.decide(hit, |room| present.wait(room), reset, |_, _| Quotient::ZERO)
    }

    /// Books a cost that, with what is in use, can be counted in 32 bits.
    fn book(state: &mut LogState<R>, (first, at): (u32, Timestamp), cost: u32) {
        state.forget(first);
        state.push(at, cost);
    }
}

impl<R: Room> Present<'_, R> {
    /// How long until at most `room` is in use. Only for a room that is exceeded.
    fn wait(&self, room: u32) -> u64 {
        let last_to_go = self.log.first(self.first, |place, _| self.log.used_from(place + 1) <= room);
        self.until_gone(self.log.entry(last_to_go).unwrap_or_default().at())
    }

    /// How long until what was used at a time no longer counts.
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

    /// Without copying the log.
    #[inline]
    fn peek(&self, state: &LogState<R>, hit: &Hit, now: Timestamp) -> Decision {
        if self.rate.is_unlimited() {
            return Decision::unlimited();
        }
        self.verdict(&self.present(state, now), hit, now)
    }

    /// Where there is no room for another entry, the newest takes this in and counts as used now.
    fn charge(&self, state: &mut LogState<R>, hit: &Hit, now: Timestamp) {
        let Present { at, first, used, .. } = self.present(state, now);
        let cost = hit.cost.min(u32::MAX - used);
        if !self.rate.is_unlimited() && cost > 0 {
            Self::book(state, (first, at), cost);
        }
    }

    /// Takes the cost back from what was used at the time of the receipt, if the log still has it.
    fn refund(&self, state: &mut LogState<R>, hit: &Hit, receipt: Receipt, _: Timestamp) {
        state.take(receipt.at, hit.cost);
    }

    fn expires_at(&self, state: &LogState<R>, _: Class) -> Timestamp {
        if state.len() == 0 { Timestamp::EPOCH } else { state.last().plus_micros(self.rate.period_micros()) }
    }

    fn max_ttl(&self) -> u64 {
        self.rate.period_micros()
    }

    /// All that is in use counts as used now.
    fn rebase(&self, state: &mut LogState<R>, now: Timestamp) -> bool {
        let is_ahead = is_ahead(state.last(), now, 0);
        if is_ahead {
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
        let Present { first, used, .. } = self.present(state, now);
        SlidingLogStat {
            entry_count: state.len() - first,
            current_cost_sum: used,
            oldest_entry: state.entry(first).map(Entry::at),
        }
    }

    // `fits_script` is always so: a script adds costs up to the limit and subtracts times.
}

/// Refused if the scaled limit is larger than the log has room for.
impl<R: Room> Scale for Log<R> {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Self::new(self.rate.scaled(ratio)).map_err(|_| CapacityError { largest: R::LARGEST })
    }
}

impl<R: Room> Bounds for Log<R> {
    /// The limit in every window of one period, wherever it starts.
    fn most(&self, first: Timestamp, last: Timestamp) -> u128 {
        match last.micros_since(first).checked_div(self.rate.period_micros()) {
            None => u128::MAX,
            Some(periods) => (u128::from(periods) + 1) * u128::from(self.rate.limit()),
        }
    }

    /// As many whole costs as fit, at once and again whenever a period has passed.
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
        assert!(error.to_string().starts_with("a log with room for 8 entries cannot hold a limit of 9: "));
        assert!(SlidingLog::<8>::new(Rate::UNLIMITED).is_ok());
        let twice = Ratio::new(2, 1).unwrap();
        assert_eq!(log("5/s").scaled(twice), Err(CapacityError { largest: 8 }));
        assert_eq!(log("4/s").scaled(twice), Ok(log("8/s")));
    }

    #[test]
    fn stat_tells_what_is_in_the_last_period() {
        let log = log("8/10s");
        let mut state = SlidingLogState::default();
        for (at, cost) in [(1, 2), (1, 1), (4, 2), (6, 1)] {
            assert!(log.decide(&mut state, &Hit::new(cost), second(at)).is_allowed());
        }
        let stat = |now| log.stat(&state, Class::default(), second(now));
        let told = |now| (stat(now).entry_count, stat(now).current_cost_sum, stat(now).oldest_entry);
        assert_eq!(told(6), (3, 6, Some(second(1))));
        assert_eq!(told(11), (2, 3, Some(second(4))));
        assert_eq!(told(16), (0, 0, None));
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

//! The leaky bucket as a queue: hits leave one after another at the rate, and a full queue denies.

use super::math::meter::Meter;
use super::math::metered::metered;
use super::wire::stats::stat;
use super::{Bounds, CapacityError, Class, Hit, Level, Scale, ScriptLimit, Strategy};
use crate::{Decision, Rate, Ratio, Receipt, Timestamp};

mod state;

pub use state::QueueState;

/// Delays hits so that they leave in order, exactly at the rate, and denies them when the queue is full.
///
/// Choose it to space calls to others evenly, also calls of several processes: on a shared store each call
/// takes its turn in one round trip. [`LeakyBucket`](crate::LeakyBucket) and [`Gcra`](crate::Gcra) deny early
/// hits instead, which then have to ask again. The state takes 32 bytes.
///
/// An admitted hit may proceed [`after`](crate::Outcome::Allow) a delay, when its turn comes. A hit occupies
/// `cost · period / limit`, and the next turn comes when all earlier hits have had their time. The turn is
/// rounded up to 1 µs, never the time between turns, so there is no drift. A hit that finds the queue empty
/// leaves at once. A hit of cost `c` holds `c` turns in a row: `after` is the wait for the first, and each of
/// the others comes `period / limit` later. So one check can take the turns of a batch of calls.
///
/// Behind the unit of cost that leaves now, [`queue`](Self::queue) more may wait, which defaults to the
/// limit. A hit that does not fit is denied until it does, and a cost above `queue + 1` never fits. The queue
/// needs room for all turns that are taken and not over, those of all processes together.
///
/// A charge may exceed the queue. It moves later turns by `cost · period / limit`, so it can pause a key.
/// Later hits are denied until enough has drained that they fit.
///
/// Over any time `T` it admits at most `queue + 1 + limit · T / period`. A client that asks for `c` again as
/// soon as it may gets at most `c − 1` less than that, if `queue + 1` exceeds `c` by at least the cost that
/// leaves in 1 µs. Otherwise it gets `c` in every `⌈c · period / limit⌉` µs. Hits leave spaced by the rate in
/// either case.
///
/// A refund takes back only the last place, and only until its turn has gone by: the places behind it already
/// have their turns, and a hit whose turn has come may have left. Any other refund changes nothing.
///
/// 2 per second with 2 waiting:
///
/// | at | cost | decided | its turn |
/// |---|---|---|---|
/// | 0 s | 1 | allow at once | 0 s |
/// | 0.1 s | 1 | allow after 0.4 s | 0.5 s |
/// | 0.1 s | 2 | deny, retry after 0.4 s | |
/// | 0.5 s | 2 | allow after 0.5 s | 1 s |
/// | 0.5 s | 1 | deny, retry after 0.5 s | |
/// | 1.8 s | 1 | allow after 0.2 s | 2 s |
/// | 1.8 s | 4 | never | |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Hit, LeakyBucketQueue, Outcome, Strategy, Timestamp, rate};
///
/// let queue = LeakyBucketQueue::new(rate!("2/s")).queue(2)?;
/// let mut state = Default::default();
/// let mut at = |millis: u64, cost| {
///     queue.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(millis * 1000)).outcome()
/// };
/// let allow = |millis| Outcome::Allow { after: Duration::from_millis(millis) };
/// let deny = |millis| Outcome::Deny { retry_after: Duration::from_millis(millis) };
///
/// assert_eq!(at(0, 1), allow(0));
/// assert_eq!(at(100, 1), allow(400));
/// assert_eq!(at(100, 2), deny(400));
/// assert_eq!(at(500, 2), allow(500));
/// assert_eq!(at(500, 1), deny(500));
/// assert_eq!(at(1800, 1), allow(200));
/// assert_eq!(at(1800, 4), Outcome::Never);
/// # Ok::<(), traffik::CapacityError>(())
/// ```
///
/// **A lost state.** A store that restarts empty has forgotten the turns that it gave, and gives `queue + 1`
/// turns beside them. They are over `(queue + 1) · period / limit` after the last one was given.
///
/// Source: A. S. Tanenbaum, "Computer Networks", 3rd edition, 1996, section 5.3.3; the admission is that of
/// ITU-T Recommendation I.371, Annex A.
///
/// # Figures
///
/// `limiter.stat("alice")?.queue_size` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `queue_size` | `u32`, cost | cost behind the unit that leaves now, rounded up |
/// | `queue_cost` | `u32`, cost | the same with the unit that leaves now, rounded up |
/// | `queue_capacity` | `u32`, cost | cost that may wait |
/// | `next_turn` | `Timestamp` | turn of a hit that came now, if the queue had room for it |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeakyBucketQueue {
    /// Holds the cost that leaves now and the cost that waits behind it: `capacity = (queue + 1) · unit`.
    meter: Meter,
    queue: u32,
    is_queue_given: bool,
}

stat! {
    /// The figures of a [`LeakyBucketQueue`].
    ///
    /// ```
    /// use traffik::{Class, LeakyBucketQueue, Strategy, Timestamp, rate};
    ///
    /// let queue = LeakyBucketQueue::new(rate!("2/s"));
    /// let stat = queue.stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.queue_size, stat.queue_capacity), (0, 2));
    /// ```
    pub struct LeakyBucketQueueStat {
        /// The cost that waits behind the unit that leaves now, rounded up. With hits of cost 1, the number
        /// of waiting hits.
        pub queue_size: u32,
        /// The cost that has not had its time yet, with the unit that leaves now, rounded up.
        pub queue_cost: u32,
        /// The cost that may wait.
        pub queue_capacity: u32,
        /// The turn of a hit that came now, if the queue had room for it.
        pub next_turn: Timestamp,
    }
}

impl LeakyBucketQueue {
    /// Returns a queue that hits leave at `rate`, in which as much cost may wait as the limit.
    ///
    /// Less may wait if that much cannot be counted exactly: if `(limit + 1) · period / gcd(limit, period)`,
    /// with the period in microseconds, is 2⁶⁴ or more. A limit without a common factor gets there above 213
    /// million per day, or above 30 million per week. A rate of 0 admits nothing.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        // The capacity is the queue and the unit that leaves now.
        let capacity = if rate.limit() == 0 { 0 } else { rate.limit().saturating_add(1) };
        let meter = Meter::new(rate, capacity);
        Self { meter, queue: meter.largest_cost.saturating_sub(1), is_queue_given: false }
    }

    /// Sets the cost that may wait. With a queue of 0, hits that cannot leave at once are denied.
    ///
    /// # Errors
    ///
    /// Fails if the queue cannot be counted exactly, with the largest that can.
    pub const fn queue(self, queue: u32) -> Result<Self, CapacityError> {
        // At a rate of 0 nothing ever leaves, so nothing may enter.
        let capacity = if self.meter.rate.limit() == 0 { 0 } else { queue as u64 + 1 };
        match self.meter.with_capacity(self.meter.units(capacity)) {
            Ok(meter) => Ok(Self { meter, queue, is_queue_given: true }),
            Err(CapacityError { largest }) => Err(CapacityError { largest: largest.saturating_sub(1) }),
        }
    }

    /// Returns the rate at which hits leave.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.meter.rate
    }
}

impl LeakyBucketQueue {
    /// Changes the level of a state, and reports whether this ended the pace of another limit.
    #[inline]
    fn change<T>(
        &self,
        state: &mut QueueState,
        now: Timestamp,
        change: impl FnOnce(&mut Level) -> T,
    ) -> (T, bool) {
        let (own, is_changed) = state.own(&self.meter, now);
        let held = own.level(&self.meter);
        let mut level = held;
        let changed = change(&mut level);
        // A level that stays the same keeps its time, so that a denial leaves the state as it was.
        if level != held {
            *state = own.following(&self.meter, held, level);
        } else if is_changed {
            *state = own;
        }
        (changed, is_changed)
    }

    /// Returns the level of a state at the pace of this queue's meter.
    fn level(&self, state: &QueueState, now: Timestamp) -> Level {
        state.own(&self.meter, now).0.level(&self.meter)
    }
}

impl Strategy for LeakyBucketQueue {
    type State = QueueState;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = LeakyBucketQueueStat;

    // Inlined, so that the compiler drops the figures which the caller does not read.
    #[inline(always)]
    fn decide(&self, state: &mut QueueState, hit: &Hit, now: Timestamp) -> Decision {
        let (decision, is_changed) =
            self.change(state, now, |level| self.meter.decide_in_turn(level, hit, now));
        if is_changed { decision.with_dirty(true) } else { decision }
    }

    fn charge(&self, state: &mut QueueState, hit: &Hit, now: Timestamp) {
        self.change(state, now, |level| self.meter.charge(level, hit, now));
    }

    /// Takes the last place back while its turn has not gone by; otherwise changes nothing.
    fn refund(&self, state: &mut QueueState, hit: &Hit, receipt: Receipt, now: Timestamp) {
        self.change(state, now, |level| self.meter.refund_last(level, hit, receipt, now));
    }

    #[inline]
    fn expires_at(&self, state: &QueueState, _: Class) -> Timestamp {
        state.expires_at(&self.meter)
    }

    fn max_ttl(&self) -> u64 {
        self.meter.max_ttl()
    }

    fn rebase(&self, state: &mut QueueState, now: Timestamp) -> bool {
        let mut moved = *state;
        let (is_ahead, _) = self.change(&mut moved, now, |level| self.meter.rebase(level, now));
        // Reading the state, such as the pace at which it drains, must not change it.
        if is_ahead {
            *state = moved;
        }
        is_ahead
    }

    fn parts_of(&self, hit: &Hit, visit: &mut dyn FnMut(ScriptLimit)) -> bool {
        self.meter.parts_of(true, hit, visit)
    }

    fn stat(&self, state: &QueueState, _: Class, now: Timestamp) -> LeakyBucketQueueStat {
        let level = self.level(state, now);
        let queue_cost = self.meter.cost(&level, now);
        LeakyBucketQueueStat {
            queue_size: queue_cost.saturating_sub(1),
            queue_cost,
            queue_capacity: self.queue,
            next_turn: self.meter.expires_at(&level).max(now),
        }
    }

    fn fits_script(&self) -> Result<(), CapacityError> {
        self.meter.fits_script(1)
    }
}

/// Scales the rate, and with it a queue that is the limit. A queue that was given stays the same, and so do
/// the turns of hits already admitted.
impl Scale for LeakyBucketQueue {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        let scaled = Self::new(self.meter.rate.scaled(ratio));
        if self.is_queue_given { scaled.queue(self.queue) } else { Ok(scaled) }
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        // The unit that leaves now is shared as well: queue + 1 = part of (queue + 1).
        let all = ratio.part_of(self.queue.saturating_add(1));
        self.queue(all.saturating_sub(1))?.scaled(ratio)
    }

    fn advance(&self, state: &mut QueueState, _: Class, to: Timestamp) {
        *state = state.advanced(&self.meter, to);
    }

    fn advance_receipt(&self, receipt: &mut Receipt, _: Class, to: Timestamp) {
        self.meter.advance_receipt(receipt, to);
    }

    fn denominator(&self) -> u64 {
        self.meter.unit.max(1)
    }

    fn refine(&self, factor: u64) -> Result<Self, CapacityError> {
        Ok(Self { meter: self.meter.refine(factor)?, ..*self })
    }
}

/// Bounds the admitted cost. The cost that leaves is spaced by the rate.
impl Bounds for LeakyBucketQueue {
    const QUEUES: bool = true;

    metered!(bounds);
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::Outcome;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn turn(decision: Decision) -> u64 {
        match decision.outcome() {
            Outcome::Allow { after } => after.as_micros() as u64,
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn turns_are_rounded_and_the_time_between_is_not() {
        let queue = LeakyBucketQueue::new(Rate::per_second(3)).queue(9).unwrap();
        let mut state = QueueState::default();
        let turns = [(); 7].map(|()| turn(queue.decide(&mut state, &Hit::new(1), START)));
        assert_eq!(turns, [0, 333_334, 666_667, 1_000_000, 1_333_334, 1_666_667, 2_000_000]);
    }

    #[test]
    fn a_cost_takes_as_many_intervals() {
        let queue = LeakyBucketQueue::new(Rate::per_second(10));
        let mut state = QueueState::default();
        let turns = [3, 1, 2, 1].map(|cost| turn(queue.decide(&mut state, &Hit::new(cost), START)));
        assert_eq!(turns, [0, 300_000, 400_000, 600_000]);
    }

    #[test]
    fn the_queue_defaults_to_the_limit() {
        let queue = LeakyBucketQueue::new(Rate::per_second(2));
        let mut state = QueueState::default();
        for _ in 0..3 {
            let _ = turn(queue.decide(&mut state, &Hit::new(1), START));
        }
        let full = queue.decide(&mut state, &Hit::new(1), START);
        assert_eq!(full.outcome(), Outcome::Deny { retry_after: Duration::from_millis(500) });
        let stat = queue.stat(&state, Class::default(), START.plus_micros(100_000));
        assert_eq!((stat.queue_size, stat.queue_cost, stat.queue_capacity), (2, 3, 2));
        assert_eq!(stat.next_turn, START.plus_micros(1_500_000));
    }

    #[test]
    fn a_charge_beyond_the_queue_moves_all_later_turns() {
        let queue = LeakyBucketQueue::new(Rate::per_second(10)).queue(4).unwrap();
        let mut state = QueueState::default();
        queue.charge(&mut state, &Hit::new(20), START);
        // Of 20, all but 4 have to drain before a hit of 1 fits; its turn comes when the 20 have had theirs.
        let denied = queue.decide(&mut state, &Hit::new(1), START);
        assert_eq!(denied.outcome(), Outcome::Deny { retry_after: Duration::from_millis(1_600) });
        let later = START.plus_micros(1_600_000);
        assert_eq!(turn(queue.decide(&mut state, &Hit::new(1), later)), 400_000);
    }

    /// Three processes take 5 turns each, and the next ones when the last of these begins.
    #[test]
    fn turns_taken_and_not_over_need_room() {
        for (room, is_enough) in [(15, true), (14, false)] {
            let queue = LeakyBucketQueue::new(Rate::per_second(10)).queue(room).unwrap();
            let mut state = QueueState::default();
            // When each process asks next.
            let mut asks = [START; 3];
            let mut denials = 0;
            for _ in 0..30 {
                let next = (0..3).min_by_key(|process| asks[*process]).unwrap();
                asks[next] = match queue.decide(&mut state, &Hit::new(5), asks[next]).outcome() {
                    Outcome::Allow { after } => asks[next] + after + Duration::from_millis(400),
                    Outcome::Deny { retry_after } => {
                        denials += 1;
                        asks[next] + retry_after
                    }
                    Outcome::Never => panic!("a batch fits"),
                };
            }
            assert_eq!(denials == 0, is_enough, "{denials} denials with room for {room}");
        }
    }

    #[test]
    fn only_the_last_place_is_taken_back_and_only_in_time() {
        let queue = LeakyBucketQueue::new(Rate::per_second(10));
        let mut state = QueueState::default();
        let one = Hit::new(1);
        let receipts = [(); 3].map(|()| queue.decide(&mut state, &one, START).receipt());
        let full = state;
        queue.refund(&mut state, &one, receipts[1], START);
        assert_eq!(state, full, "another place is behind it");
        queue.refund(&mut state, &one, receipts[2], START.plus_micros(200_001));
        assert_eq!(state, full, "its turn has gone by");
        queue.refund(&mut state, &one, receipts[2], START.plus_micros(200_000));
        assert_eq!(queue.stat(&state, Class::default(), START.plus_micros(200_000)).queue_cost, 0);
        let mut state = full;
        queue.refund(&mut state, &one, receipts[2], START);
        assert_eq!(turn(queue.decide(&mut state, &one, START)), 200_000, "the place is there again");
        let (mut state, later) = (full, START.plus_micros(30_000));
        queue.refund(&mut state, &one, receipts[2], START.plus_micros(10_000));
        queue.refund(&mut state, &one, receipts[1], later);
        assert_eq!(turn(queue.decide(&mut state, &one, later)), 70_000, "one after another, from the end");
    }

    #[test]
    fn a_clock_that_stepped_back_leaves_the_order_as_it_is() {
        let queue = LeakyBucketQueue::new(Rate::per_second(10));
        let mut state = QueueState::default();
        let _ = turn(queue.decide(&mut state, &Hit::new(1), START));
        let earlier = Timestamp::from_micros(START.as_micros() - 50_000);
        assert_eq!(turn(queue.decide(&mut state, &Hit::new(1), earlier)), 150_000);
    }

    #[test]
    fn zero_capacity_denies_for_ever_and_unlimited_never_delays() {
        let closed = LeakyBucketQueue::new(Rate::per_second(0));
        for closed in [closed, closed.queue(5).unwrap()] {
            let mut state = QueueState::default();
            assert_eq!(closed.decide(&mut state, &Hit::new(1), START).outcome(), Outcome::Never);
        }
        let unlimited = LeakyBucketQueue::new(Rate::UNLIMITED).queue(0).unwrap();
        let mut state = QueueState::default();
        assert_eq!(turn(unlimited.decide(&mut state, &Hit::new(u32::MAX), START)), 0);
        assert_eq!(turn(unlimited.decide(&mut state, &Hit::new(u32::MAX), START)), 0);
    }

    #[test]
    fn what_cannot_be_counted_is_refused_with_what_can() {
        let coprime = LeakyBucketQueue::new(Rate::per_day(300_000_007));
        assert_eq!(coprime.queue(u32::MAX), Err(CapacityError { largest: 213_503_981 }));
        assert_eq!(coprime.queue(213_503_981).map(|largest| largest.queue), Ok(coprime.queue));
        assert_eq!(coprime.fits_script(), Err(CapacityError { largest: 104_248 }));
        assert_eq!(coprime.queue(104_248).unwrap().fits_script(), Ok(()));
        let widest = LeakyBucketQueue::new(Rate::per_second(u32::MAX));
        assert_eq!(widest.queue(u32::MAX), Err(CapacityError { largest: u32::MAX - 1 }));
    }

    #[test]
    fn a_queue_that_is_the_limit_is_scaled_with_it() {
        let half = Ratio::new(1, 2).unwrap();
        let queue = LeakyBucketQueue::new(Rate::per_second(10));
        assert_eq!(queue.scaled(half), Ok(LeakyBucketQueue::new(Rate::per_second(5))));
        assert_eq!(queue.queue(7).unwrap().scaled(half).map(|slower| slower.queue), Ok(7));
    }
}

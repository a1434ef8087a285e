//! The leaky bucket as a meter: hits fill it, it leaks at the rate, and hits that would overflow are denied.

use super::math::meter::Meter;
use super::math::metered::metered;
use super::wire::stats::stat;
use super::{Bounds, CapacityError, Class, Level, Scale, Strategy};
use crate::{Rate, Ratio, Timestamp};

/// Denies hits that would overflow a bucket, which leaks continuously at the rate.
///
/// Choose it for a rate without bursts, in terms of "how full" instead of "how many left". It decides as a
/// [`TokenBucket`](crate::TokenBucket) whose burst is the capacity.
/// [`LeakyBucketQueue`](crate::LeakyBucketQueue) delays hits instead of denying them. The state takes 24
/// bytes.
///
/// The capacity defaults to 1, which allows no burst: hits of cost 1 are spaced by `period / limit`, rounded
/// up to 1 µs, and a larger cost can never pass. A wider [`capacity`](Self::capacity) admits that much at
/// once. The capacity bounds every hit, also the first one of a key.
///
/// Over any time `T` it admits at most `capacity + limit · T / period`. A client that asks for `c` again as
/// soon as it may gets at most `c − 1` less than that, if the capacity exceeds `c` by at least the leak of 1
/// µs. Otherwise it gets `c` in every `⌈c · period / limit⌉` µs. On a clock that moves by a tick at a time,
/// read "tick" for "µs" and round up to whole ticks.
///
/// A bucket of capacity 3 that leaks 2 per second:
///
/// | at | cost | decided | level after it |
/// |---|---|---|---|
/// | 0 s | 4 | never | 0 |
/// | 0 s | 2 | allow | 2 |
/// | 0 s | 2 | deny, retry after 0.5 s | 2 |
/// | 0.5 s | 2 | allow | 3 |
/// | 1.25 s | 0 | allow | 1.5 |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Class, Hit, LeakyBucket, Outcome, Strategy, Timestamp, rate};
///
/// let bucket = LeakyBucket::new(rate!("2/s")).capacity(3)?;
/// let mut state = Default::default();
/// let at = |millis: u64| Timestamp::from_micros(millis * 1000);
///
/// assert_eq!(bucket.decide(&mut state, &Hit::new(4), at(0)).outcome(), Outcome::Never);
/// assert_eq!(bucket.decide(&mut state, &Hit::new(2), at(0)).remaining(), 1);
/// let denied = bucket.decide(&mut state, &Hit::new(2), at(0));
/// assert_eq!(denied.retry_after(), Some(Duration::from_millis(500)));
/// assert_eq!(bucket.decide(&mut state, &Hit::new(2), at(500)).remaining(), 0);
/// assert_eq!(bucket.stat(&state, Class::default(), at(1250)).level, 2); // 1.5, rounded up
/// # Ok::<(), traffik::CapacityError>(())
/// ```
///
/// Source: J. Turner, "New directions in communications (or which way to the information age?)", IEEE
/// Communications Magazine 24(10), 1986; ITU-T Recommendation I.371, Annex A.
///
/// # Figures
///
/// `limiter.stat("alice")?.level` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `level` | `u32`, cost | cost in the bucket, rounded up |
/// | `capacity` | `u32`, cost | cost that a full bucket holds |
/// | `leak_rate` | `Option<Ratio>`, cost/µs | cost that leaks out in a microsecond; `None` if unlimited |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeakyBucket {
    meter: Meter,
    /// The capacity in cost, which stays the same when the rate changes.
    capacity: u32,
}

stat! {
    /// The figures of a [`LeakyBucket`].
    ///
    /// ```
    /// use traffik::{Class, LeakyBucket, Strategy, Timestamp, rate};
    ///
    /// let stat = LeakyBucket::new(rate!("2/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.level, stat.capacity), (0, 1));
    /// ```
    pub struct LeakyBucketStat {
        /// The cost in the bucket, rounded up.
        pub level: u32,
        /// The cost that a full bucket holds.
        pub capacity: u32,
        /// The cost that leaks out in a microsecond; `None` if unlimited.
        pub leak_rate: Option<Ratio>,
    }
}

impl LeakyBucket {
    /// Returns a bucket that leaks at `rate` and allows no burst. A rate of 0 admits nothing.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        let capacity = if rate.limit() == 0 { 0 } else { 1 };
        Self { meter: Meter::new(rate, capacity), capacity }
    }

    /// Sets the cost that the bucket holds. A capacity of 0 admits nothing.
    ///
    /// # Errors
    ///
    /// Fails if the capacity cannot be counted exactly, with the largest that can.
    pub const fn capacity(self, capacity: u32) -> Result<Self, CapacityError> {
        match self.meter.with_capacity(self.meter.units(capacity as u64)) {
            Ok(meter) => Ok(Self { meter, capacity }),
            Err(too_large) => Err(too_large),
        }
    }

    /// Returns the rate at which the bucket leaks.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.meter.rate
    }
}

impl Strategy for LeakyBucket {
    type Stat = LeakyBucketStat;

    metered!(strategy, |it| (it.capacity, 0));

    fn stat(&self, state: &Level, _: Class, now: Timestamp) -> LeakyBucketStat {
        LeakyBucketStat {
            level: self.meter.cost(state, now),
            capacity: self.capacity,
            leak_rate: self.meter.rate.per_micro(),
        }
    }
}

/// Scales the rate; the capacity stays the same.
impl Scale for LeakyBucket {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Self::new(self.meter.rate.scaled(ratio)).capacity(self.capacity)
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        self.capacity(ratio.part_of(self.capacity))?.scaled(ratio)
    }

    metered!(scale);
}

impl Bounds for LeakyBucket {
    metered!(bounds);
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::{Hit, Outcome};

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    /// Defect 8 of the original: the first hit was never checked, so cost 50 passed on 5/m.
    #[test]
    fn defect_8_the_first_hit_is_checked() {
        let bucket = LeakyBucket::new(Rate::per_minute(5)).capacity(5).unwrap();
        let mut state = Level::default();
        assert_eq!(bucket.decide(&mut state, &Hit::new(50), START).outcome(), Outcome::Never);
        assert_eq!(state, Level::default());
        assert!(bucket.decide(&mut state, &Hit::new(5), START).is_allowed());
        let denied = bucket.decide(&mut state, &Hit::new(1), START);
        assert_eq!(denied.retry_after(), Some(Duration::from_secs(12)));
    }

    #[test]
    fn without_a_capacity_there_is_no_burst() {
        let bucket = LeakyBucket::new(Rate::per_second(3));
        let mut state = Level::default();
        assert_eq!(bucket.decide(&mut state, &Hit::new(2), START).outcome(), Outcome::Never);
        assert!(bucket.decide(&mut state, &Hit::new(1), START).is_allowed());
        let third = Duration::from_micros(333_334);
        assert_eq!(bucket.decide(&mut state, &Hit::new(1), START).retry_after(), Some(third));
    }

    #[test]
    fn what_cannot_be_counted_is_refused_with_what_can() {
        let coprime = LeakyBucket::new(Rate::per_day(300_000_007));
        assert_eq!(coprime.capacity(u32::MAX), Err(CapacityError { largest: 213_503_982 }));
        assert_eq!(coprime.capacity(200_000).unwrap().fits_script(), Err(CapacityError { largest: 104_249 }));
        assert_eq!(coprime.fits_script(), Ok(()));
    }

    #[test]
    fn the_capacity_stays_when_the_rate_is_scaled() {
        let half = Ratio::new(1, 2).unwrap();
        let bucket = LeakyBucket::new(Rate::per_second(10)).capacity(4).unwrap();
        let slower = LeakyBucket::new(Rate::per_second(5)).capacity(4).unwrap();
        assert_eq!(bucket.scaled(half), Ok(slower));
    }

    #[test]
    fn figures_of_unlimited_and_closed_buckets() {
        let stat = |rate| LeakyBucket::new(rate).stat(&Level::default(), Class::default(), START);
        let unlimited = LeakyBucketStat { level: 0, capacity: 1, leak_rate: None };
        assert_eq!(stat(Rate::UNLIMITED), unlimited);
        let closed = LeakyBucketStat { level: 0, capacity: 0, leak_rate: Ratio::new(0, 1).ok() };
        assert_eq!(stat(Rate::per_second(0)), closed);
    }
}

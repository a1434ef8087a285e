//! The token bucket: refills at the rate, holds up to a burst, and each hit takes its cost in tokens.

use super::math::meter::Meter;
use super::math::metered::metered;
use super::wire::stats::stat;
use super::{Bounds, CapacityError, Class, Level, Scale, Strategy};
use crate::divide::divide_up;
use crate::{Rate, Ratio, Timestamp};

/// Allows bursts, and the rate on average: a bucket that refills continuously.
///
/// Choose it unless you need something else. [`Gcra`](crate::Gcra) spaces hits evenly,
/// [`FixedWindow`](crate::FixedWindow) matches a quota "per calendar minute", and
/// [`LeakyBucketQueue`](crate::LeakyBucketQueue) delays hits instead of denying them. The state takes 24
/// bytes.
///
/// The bucket holds `burst` tokens, which defaults to the limit. A hit of cost `c` takes `c` tokens, or is
/// denied until they are there. With [`debt`](Self::debt) the bucket may be overdrawn that far; owed tokens
/// have to refill before anything else passes.
///
/// Over any time `T` it admits at most `burst + debt + limit · T / period`. A client that asks for `c` again
/// as soon as it may gets at most `c − 1` less than that, if burst and debt together exceed `c` by at least
/// the refill of 1 µs. Otherwise it gets `c` in every `⌈c · period / limit⌉` µs.
///
/// On a clock that moves by a tick at a time, a burst of at least `limit · tick / period + c` loses nothing.
/// With a smaller burst, round `⌈c · period / limit⌉` up to whole ticks.
///
/// A bucket of 4 tokens at 2 per second:
///
/// | at | cost | decided | remaining |
/// |---|---|---|---|
/// | 0 s | 3 | allow | 1 |
/// | 0 s | 2 | deny, retry after 0.5 s | 1 |
/// | 0.5 s | 2 | allow | 0 |
/// | 1 s | 5 | never | 1 |
/// | 9 s | 0 | allow | 4 |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Hit, Outcome, Strategy, Timestamp, TokenBucket, rate};
///
/// let bucket = TokenBucket::new(rate!("2/s")).burst(4)?;
/// let mut state = Default::default();
/// let mut at = |millis: u64, cost| {
///     bucket.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(millis * 1000))
/// };
///
/// assert_eq!(at(0, 3).remaining(), 1);
/// assert_eq!(at(0, 2).retry_after(), Some(Duration::from_millis(500)));
/// assert_eq!(at(500, 2).remaining(), 0);
/// assert_eq!(at(1000, 5).outcome(), Outcome::Never);
/// assert_eq!(at(9000, 0).remaining(), 4);
/// # Ok::<(), traffik::CapacityError>(())
/// ```
///
/// Source: J. Turner, "New directions in communications (or which way to the information age?)", IEEE
/// Communications Magazine 24(10), 1986, where it is the leaky bucket as a meter; RFC 2697 for the name.
///
/// # Figures
///
/// `limiter.stat("alice")?.tokens` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `tokens` | `i64`, cost | whole tokens in the bucket, rounded down; below zero when tokens are owed |
/// | `capacity` | `u32`, cost | tokens in a full bucket |
/// | `current_debt` | `u32`, cost | tokens owed, rounded up |
/// | `max_debt` | `u32`, cost | tokens that may be owed |
/// | `refill` | `Option<Ratio>`, cost/µs | tokens that come in a microsecond; `None` if unlimited |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// Holds the burst and the debt together: `capacity = (burst + debt) · unit`.
    meter: Meter,
    burst: u32,
    is_burst_given: bool,
    debt: u32,
}

stat! {
    /// The figures of a [`TokenBucket`].
    ///
    /// ```
    /// use traffik::{Class, Strategy, Timestamp, TokenBucket, rate};
    ///
    /// let stat = TokenBucket::new(rate!("2/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.tokens, stat.capacity, stat.current_debt), (2, 2, 0));
    /// ```
    pub struct TokenBucketStat {
        /// Whole tokens in the bucket, rounded down; below zero when tokens are owed.
        pub tokens: i64,
        /// Tokens in a full bucket.
        pub capacity: u32,
        /// Tokens owed, rounded up.
        pub current_debt: u32,
        /// Tokens that may be owed.
        pub max_debt: u32,
        /// Tokens added per microsecond; `None` if unlimited.
        pub refill: Option<Ratio>,
    }
}

impl TokenBucket {
    /// Returns a bucket that refills at `rate` and holds as many tokens as its limit.
    ///
    /// The burst is smaller if that many cannot be counted exactly: if `limit · period / gcd(limit, period)`,
    /// with the period in microseconds, is 2⁶⁴ or more. A limit without a common factor gets there above 213
    /// million per day, or above 30 million per week.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        let meter = Meter::new(rate, rate.limit());
        Self { meter, burst: meter.largest_cost, is_burst_given: false, debt: 0 }
    }

    /// Sets how many tokens the bucket holds. A burst of 0 admits only what the debt covers.
    ///
    /// # Errors
    ///
    /// Fails if burst and debt together cannot be counted exactly, with the largest burst that can.
    pub const fn burst(self, burst: u32) -> Result<Self, CapacityError> {
        Self { is_burst_given: true, ..self }.sized(burst, self.debt)
    }

    /// Sets how many tokens may be owed. Defaults to 0.
    ///
    /// # Errors
    ///
    /// Fails if burst and debt together cannot be counted exactly, with the largest burst that can.
    pub const fn debt(self, debt: u32) -> Result<Self, CapacityError> {
        self.sized(self.burst, debt)
    }

    const fn sized(self, burst: u32, debt: u32) -> Result<Self, CapacityError> {
        // capacity = (burst + debt) · unit; an error subtracts the debt again, since it is about the burst.
        match self.meter.with_capacity(self.meter.units(burst as u64 + debt as u64)) {
            Ok(meter) => Ok(Self { meter, burst, debt, ..self }),
            Err(CapacityError { largest }) => Err(CapacityError { largest: largest.saturating_sub(debt) }),
        }
    }

    /// Returns the rate at which the bucket refills.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.meter.rate
    }
}

impl Strategy for TokenBucket {
    type Stat = TokenBucketStat;

    metered!(strategy, |it| (it.burst, it.debt));

    fn stat(&self, state: &Level, _: Class, now: Timestamp) -> TokenBucketStat {
        // tokens = burst − ⌈used / unit⌉, so a part of a token does not count as one.
        let (_, used) = self.meter.level(state, now);
        let used = divide_up(used, self.meter.unit);
        let tokens = i64::from(self.burst) - i64::try_from(used).unwrap_or(i64::MAX);
        TokenBucketStat {
            tokens,
            capacity: self.burst,
            current_debt: u32::try_from(-tokens.min(0)).unwrap_or(u32::MAX),
            max_debt: self.debt,
            refill: self.meter.rate.per_micro(),
        }
    }
}

/// Scales the rate, and with it a burst that is the limit. A burst or a debt that was given stays the same.
impl Scale for TokenBucket {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        let scaled = Self::new(self.meter.rate.scaled(ratio));
        // A burst that was not given follows the scaled limit.
        let sized = scaled.sized(if self.is_burst_given { self.burst } else { scaled.burst }, self.debt)?;
        Ok(Self { is_burst_given: self.is_burst_given, ..sized })
    }

    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        // The debt is rounded down to 0, for it need not admit anything; the burst never below 1.
        let (burst, debt) = (ratio.part_of(self.burst), ratio.floor_of(self.debt));
        Self { burst, debt, ..*self }.sized(burst, debt)?.scaled(ratio)
    }

    metered!(scale);
}

impl Bounds for TokenBucket {
    metered!(bounds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hit;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    #[test]
    fn debt_is_repaid_before_anything_passes() {
        let bucket = TokenBucket::new(Rate::per_second(10)).debt(5).unwrap();
        let mut state = Level::default();
        let decision = bucket.decide(&mut state, &Hit::new(15), START);
        assert!(decision.is_allowed());
        assert_eq!((decision.limit(), decision.remaining()), (10, 0));
        let stat = bucket.stat(&state, Class::default(), START);
        assert_eq!((stat.tokens, stat.current_debt, stat.max_debt), (-5, 5, 5));
        let denied = bucket.decide(&mut state, &Hit::new(1), START);
        assert_eq!(
            denied.retry_after().unwrap().as_millis(),
            100,
            "the debt may be used again as it is repaid"
        );
        assert_eq!(denied.reset_after().as_millis(), 1500);
    }

    #[test]
    fn what_cannot_be_counted_is_refused_with_what_can() {
        let coprime = Rate::per_day(300_000_007);
        assert_eq!(TokenBucket::new(coprime).burst(u32::MAX), Err(CapacityError { largest: 213_503_982 }));
        let largest = TokenBucket::new(coprime).burst(213_503_982).unwrap();
        assert_eq!(largest.burst, TokenBucket::new(coprime).burst, "the default burst is the largest");
        assert_eq!(largest.fits_script(), Err(CapacityError { largest: 104_249 }));
        assert_eq!(largest.burst(104_249).unwrap().fits_script(), Ok(()));
        assert_eq!(TokenBucket::new(Rate::per_day(99_991)).fits_script(), Ok(()));
        assert_eq!(TokenBucket::new(Rate::per_hour(u32::MAX)).meter.largest_cost, u32::MAX);
    }

    #[test]
    fn zero_capacity_denies_for_ever_and_unlimited_never() {
        for closed in
            [TokenBucket::new(Rate::per_second(0)), TokenBucket::new(Rate::per_second(9)).burst(0).unwrap()]
        {
            let decision = closed.decide(&mut Level::default(), &Hit::new(1), START);
            assert_eq!(decision.outcome(), crate::Outcome::Never);
            assert_eq!((decision.remaining(), decision.reset_after().as_micros()), (0, 0));
        }
        let once = TokenBucket::new(Rate::per_second(0)).burst(1).unwrap();
        let mut state = Level::default();
        assert!(once.decide(&mut state, &Hit::new(1), START).is_allowed());
        assert_eq!(once.decide(&mut state, &Hit::new(1), START).outcome(), crate::Outcome::Never);
        let unlimited = TokenBucket::new(Rate::UNLIMITED).burst(3).unwrap();
        let decision = unlimited.decide(&mut state, &Hit::new(u32::MAX), START);
        assert!(decision.is_allowed() && decision.is_unlimited());
    }
}

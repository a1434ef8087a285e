//! GCRA, the generic cell rate algorithm: hits are spaced by the rate, within a tolerance.

use core::time::Duration;

use super::math::meter::Meter;
use super::math::metered::metered;
use super::wire::stats::stat;
use super::{Bounds, CapacityError, Class, Hit, Level, Scale, Strategy};
use crate::time::micros_ceil;
use crate::{Rate, Ratio, Timestamp};

/// Spaces hits evenly at the rate, and admits those that come early by no more than a tolerance.
///
/// Choose it for traffic without bursts, such as calls to a partner's API. With a burst it decides as a
/// [`TokenBucket`](crate::TokenBucket), which suits "so many at once". The state takes 24 bytes.
///
/// The emission interval is `T = period / limit`. A hit of cost `c` moves the theoretical arrival time on by
/// `c · T`, and conforms if that time then lies at most `T + tolerance` ahead. So the cost is part of the
/// test. Without a tolerance hits are spaced by `T`, rounded up to 1 µs. A [`burst`](Self::burst) of `b` is a
/// tolerance of `(b − 1) · T`.
///
/// Over any time `t` it admits at most `1 + (tolerance + t) / T`. With a tolerance of 1 µs or more, a client
/// that asks again as soon as it may gets at most 1 less than that.
///
/// 10 per second with a tolerance of 50 ms, so `T` is 100 ms:
///
/// | at | cost | decided | theoretical arrival time after it |
/// |---|---|---|---|
/// | 0 ms | 1 | allow | 100 ms |
/// | 50 ms | 1 | allow | 200 ms |
/// | 100 ms | 1 | deny, retry after 50 ms | 200 ms |
/// | 150 ms | 1 | allow | 300 ms |
/// | 900 ms | 2 | never | 300 ms |
///
/// ```
/// use core::time::Duration;
/// use traffik::{Class, Gcra, Hit, Outcome, Strategy, Timestamp, rate};
///
/// let gcra = Gcra::new(rate!("10/s")).tolerance(Duration::from_millis(50))?;
/// let mut state = Default::default();
/// let at = |millis: u64| Timestamp::from_micros(millis * 1000);
///
/// assert!(gcra.decide(&mut state, &Hit::new(1), at(0)).is_allowed());
/// assert!(gcra.decide(&mut state, &Hit::new(1), at(50)).is_allowed());
/// assert_eq!(gcra.stat(&state, Class::default(), at(50)).tat, at(200));
/// let denied = gcra.decide(&mut state, &Hit::new(1), at(100));
/// assert_eq!(denied.retry_after(), Some(Duration::from_millis(50)));
/// assert!(gcra.decide(&mut state, &Hit::new(1), at(150)).is_allowed());
/// assert_eq!(gcra.decide(&mut state, &Hit::new(2), at(900)).outcome(), Outcome::Never);
/// assert_eq!(gcra.stat(&state, Class::default(), at(900)).tat, at(900)); // never earlier than the present
/// # Ok::<(), traffik::CapacityError>(())
/// ```
///
/// Source: ITU-T Recommendation I.371, Annex A, and ATM Forum Traffic Management 4.1, section 4.4.2.
///
/// # Figures
///
/// `limiter.stat("alice")?.tat` reads one of them without charging the key.
///
/// | figure | type, unit | meaning |
/// |---|---|---|
/// | `tat` | `Timestamp` | theoretical arrival time of the next hit, rounded up; at least the present |
/// | `interval` | `Option<Ratio>`, µs | emission interval of a cost of 1; `None` if all or nothing passes |
/// | `conformant` | `bool` | whether a hit of cost 1 would conform now |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gcra {
    meter: Meter,
    slack: Slack,
    /// See [`Self::tick`], in microseconds.
    tick: u64,
}

/// The extent to which hits may come early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slack {
    /// Early enough for this much cost to pass at once.
    Burst(u32),
    /// Early by this many microseconds.
    Tolerance(u64),
}

stat! {
    /// The figures of [`Gcra`].
    ///
    /// ```
    /// use traffik::{Class, Gcra, Ratio, Strategy, Timestamp, rate};
    ///
    /// let stat = Gcra::new(rate!("10/s")).stat(&Default::default(), Class::new(), Timestamp::EPOCH);
    /// assert_eq!((stat.interval, stat.conformant), (Some(Ratio::new(100_000, 1)?), true));
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub struct GcraStat {
        /// The theoretical arrival time of the next hit, rounded up to 1 µs, and no earlier than the present.
        pub tat: Timestamp,
        /// The emission interval: microseconds between two hits of cost 1 at the exact rate. `None` if the
        /// rate is unlimited or admits nothing.
        pub interval: Option<Ratio>,
        /// Whether a hit of cost 1 would conform now.
        pub conformant: bool,
    }
}

impl Gcra {
    /// Returns a strategy that spaces hits exactly by the rate, with a burst of 1 and no tolerance.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        let burst = if rate.limit() == 0 { 0 } else { 1 };
        Self { meter: Meter::new(rate, burst), slack: Slack::Burst(burst), tick: 0 }
    }

    /// Sets the tolerance that lets a cost of `burst` pass at once. A burst of 0 admits nothing.
    ///
    /// # Errors
    ///
    /// Fails if the burst, with the tick, cannot be counted exactly, with the largest burst that can.
    pub const fn burst(self, burst: u32) -> Result<Self, CapacityError> {
        self.with_slack(Slack::Burst(burst), self.tick)
    }

    /// Sets how early a hit may come, rounded up to 1 µs. A rate of 0 still admits nothing.
    ///
    /// # Errors
    ///
    /// Fails if the cost that may pass at once cannot be counted exactly, with the largest that can.
    pub const fn tolerance(self, tolerance: Duration) -> Result<Self, CapacityError> {
        self.with_slack(Slack::Tolerance(micros_ceil(tolerance)), self.tick)
    }

    /// Sets the tick of the clock, if the clock moves by more than 1 µs at a time.
    ///
    /// The tick is rounded up to 1 µs, and adds to a burst or a tolerance. A hit that is due between two
    /// ticks passes at the second one, and later hits count from there. With a burst of 1 each hit thus loses
    /// the rest of its tick. A client that asks at each tick of 1 ms gets:
    ///
    /// | rate | without `tick` | lost |
    /// |---|---|---|
    /// | 300/s | 250/s | 16.7 % |
    /// | 700/s | 500/s | 28.6 % |
    /// | 2 000/s | 1 000/s | 50 % |
    ///
    /// With `tick` the whole rate passes, whatever the tick: hits of a cost up to the burst may come early by
    /// the tick as well. Over any time `t` of the clock it admits at most `1 + (t + tolerance + tick) / T`.
    /// A burst of at least `rate · tick + 1` loses nothing either.
    ///
    /// ```
    /// use core::time::Duration;
    /// use traffik::{Gcra, Hit, Strategy, Timestamp, rate};
    ///
    /// const TICK: Duration = Duration::from_millis(1);
    /// let uplink = Gcra::new(rate!("300/s")).tick(TICK)?;
    /// let mut state = Default::default();
    /// let mut passes_at = |millis: u64| {
    ///     uplink.decide(&mut state, &Hit::new(1), Timestamp::from_micros(millis * 1_000)).is_allowed()
    /// };
    /// assert!(passes_at(0));
    /// assert!(!passes_at(2) && passes_at(3)); // due at 3.33 ms: passes at the tick before
    /// # Ok::<(), traffik::CapacityError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the cost that may pass at once does not fit 64 bits, with the largest that does.
    pub const fn tick(self, tick: Duration) -> Result<Self, CapacityError> {
        self.with_slack(self.slack, micros_ceil(tick))
    }

    const fn with_slack(self, slack: Slack, tick: u64) -> Result<Self, CapacityError> {
        let (hits, early) = match slack {
            Slack::Burst(0) => (0, 0),
            // At a rate of 0 no hit is due, so none comes early.
            Slack::Tolerance(_) if self.meter.drain() == 0 => (0, 0),
            Slack::Burst(burst) => (burst, tick),
            Slack::Tolerance(early) => (1, early.saturating_add(tick)),
        };
        // capacity = early · drain + hits · unit, the units that may be in use after an admission.
        let early = early as u128 * self.meter.drain() as u128;
        let capacity = early.saturating_add(self.meter.units(hits as u64));
        match self.meter.with_capacity(capacity) {
            Ok(meter) => Ok(Self { meter, slack, tick }),
            Err(too_large) => Err(too_large),
        }
    }

    /// Returns the rate by which hits are spaced.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.meter.rate
    }
}

impl Strategy for Gcra {
    type Stat = GcraStat;

    metered!(strategy, |it| (it.meter.largest_cost, 0));

    fn stat(&self, state: &Level, class: Class, now: Timestamp) -> GcraStat {
        // The level is empty when the last hit's interval is over, which is the theoretical arrival time.
        // T = period / limit = unit / drain, in lowest terms.
        GcraStat {
            tat: self.expires_at(state, class).max(now),
            interval: Ratio::new(self.meter.unit, self.meter.drain()).ok(),
            conformant: self.peek(state, &Hit::new(1), now).is_allowed(),
        }
    }
}

/// Scales the rate; a burst, a tolerance and a tick stay the same.
impl Scale for Gcra {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Self::new(self.meter.rate.scaled(ratio)).with_slack(self.slack, self.tick)
    }

    /// Turns a tolerance into the burst that is `ratio` of it. Each share keeps the tick.
    fn part(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        let burst = self.tick(Duration::ZERO)?.meter.largest_cost;
        self.burst(ratio.part_of(burst))?.scaled(ratio)
    }

    metered!(scale);
}

impl Bounds for Gcra {
    metered!(bounds);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

    const START: Timestamp = Timestamp::from_micros(1_000_000_000);

    /// Defect 7 of the original: cost 1000 passed on 60/m and locked the key out; the wait ignored the
    /// tolerance.
    #[test]
    fn the_cost_and_the_tolerance_are_part_of_the_test() {
        let spaced = Gcra::new(Rate::per_minute(60));
        assert_eq!(spaced.decide(&mut Level::default(), &Hit::new(1000), START).outcome(), Outcome::Never);
        let tolerant = spaced.burst(5).unwrap();
        let mut state = Level::default();
        assert!(tolerant.decide(&mut state, &Hit::new(5), START).is_allowed());
        let denied = tolerant.decide(&mut state, &Hit::new(2), START);
        assert_eq!(denied.retry_after(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn what_cannot_be_counted_is_refused_with_what_can() {
        let coprime = Gcra::new(Rate::per_day(300_000_007));
        assert_eq!(coprime.burst(u32::MAX), Err(CapacityError { largest: 213_503_982 }));
        assert_eq!(coprime.tolerance(Duration::MAX), Err(CapacityError { largest: 213_503_982 }));
        assert_eq!(coprime.burst(200_000).unwrap().fits_script(), Err(CapacityError { largest: 104_249 }));
        assert_eq!(coprime.fits_script(), Ok(()));
    }

    #[test]
    fn a_tick_stands_beside_a_burst_or_a_tolerance_and_opens_nothing() {
        let gcra = Gcra::new(Rate::per_second(2_000));
        let (tick, most) = (Duration::from_millis(1), |limit: Gcra| limit.most(START, START));
        let of_burst = gcra.burst(4).and_then(|it| it.tick(tick)).unwrap();
        assert_eq!(gcra.tick(tick).and_then(|it| it.burst(4)), Ok(of_burst));
        assert_eq!((most(gcra), most(gcra.tick(tick).unwrap()), most(of_burst)), (1, 3, 6));
        let tolerant = gcra.tolerance(Duration::from_micros(500)).and_then(|it| it.tick(tick)).unwrap();
        assert_eq!((most(tolerant), gcra.tick(tick).and_then(|it| it.tick(Duration::ZERO))), (4, Ok(gcra)));
        // Two parts admit what the whole does, and a tick is that of each.
        let half = of_burst.part("1/2".parse().unwrap()).unwrap();
        assert_eq!(half, Gcra::new(Rate::per_second(1_000)).burst(2).and_then(|it| it.tick(tick)).unwrap());
        for closed in [Gcra::new(Rate::per_second(0)), gcra.burst(0).unwrap()] {
            assert_eq!(most(closed.tick(tick).unwrap()), 0);
        }
        assert!(gcra.burst(u32::MAX).and_then(|it| it.tick(Duration::MAX)).is_err());
        assert!(gcra.tolerance(Duration::MAX).is_err());
    }

    #[test]
    fn unlimited_and_closed_rates_have_no_interval() {
        for rate in [Rate::UNLIMITED, Rate::per_second(0)] {
            let stat = Gcra::new(rate).stat(&Level::default(), Class::default(), START);
            assert_eq!((stat.interval, stat.conformant), (None, rate.is_unlimited()), "{rate}");
        }
        assert!(Gcra::new(Rate::UNLIMITED).tolerance(Duration::MAX).is_ok());
    }
}

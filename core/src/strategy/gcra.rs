//! GCRA, the generic cell rate algorithm: hits are spaced by the rate, give or take a tolerance.

use core::time::Duration;

use super::math::meter::Meter;
use super::math::metered::metered;
use super::wire::stats::stat;
use super::{Bounds, CapacityError, Class, Hit, Level, Scale, Strategy};
use crate::time::micros_ceil;
use crate::{Rate, Ratio, Timestamp};

/// Admits a hit if it comes no earlier than its theoretical arrival time, less a tolerance.
///
/// With `T = period / limit`, a hit of cost `c` moves the theoretical arrival time `c · T` on, and conforms
/// if that then lies at most `T + tolerance` ahead: the cost is part of the test. Without a tolerance hits
/// are spaced by `T`, rounded up to a microsecond; a [`burst`](Self::burst) of `b` is a tolerance of
/// `(b − 1) · T`. Over any time `t` at most `1 + (tolerance + t) / T` is admitted, and with a tolerance of a
/// microsecond or more at least that less 1 to a client that always asks again.
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
/// assert_eq!(gcra.decide(&mut state, &Hit::new(1), at(100)).retry_after(), Some(Duration::from_millis(50)));
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
/// `limiter.stat("alice")?.tat` reads one of them and charges nobody.
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

/// How far hits may come early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slack {
    /// By as much as lets this many come at once.
    Burst(u32),
    /// By this many microseconds.
    Tolerance(u64),
}

stat! {
    /// GCRA's own figures.
    pub struct GcraStat {
        /// The theoretical arrival time of the next hit, rounded up to a microsecond; the present if that is
        /// later.
        pub tat: Timestamp,
        /// The emission interval: microseconds between two hits of cost 1 at the exact rate. `None` where
        /// there is none: unlimited, or nothing admitted.
        pub interval: Option<Ratio>,
        /// Whether a hit of cost 1 would conform now.
        pub conformant: bool,
    }
}

impl Gcra {
    /// Hits spaced exactly by the rate: no tolerance, a burst of 1.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        let burst = if rate.limit() == 0 { 0 } else { 1 };
        Self { meter: Meter::new(rate, burst), slack: Slack::Burst(burst), tick: 0 }
    }

    /// The same limit with a tolerance that lets `burst` through at once. A burst of 0 admits nothing.
    pub const fn burst(self, burst: u32) -> Result<Self, CapacityError> {
        self.with_slack(Slack::Burst(burst), self.tick)
    }

    /// The same limit with hits admitted up to `tolerance` (rounded up to a microsecond) early. A rate of 0
    /// still admits nothing.
    pub const fn tolerance(self, tolerance: Duration) -> Result<Self, CapacityError> {
        self.with_slack(Slack::Tolerance(micros_ceil(tolerance)), self.tick)
    }

    /// The same limit for a clock that moves by this much at a time (rounded up to a microsecond), beside a
    /// burst or a tolerance.
    ///
    /// A hit that is due between two ticks passes at the second one, and what passes from then on counts from
    /// there: without more than a burst of 1 each hit loses the rest of its tick. Of a client that asks at
    /// each tick of 1 ms there passes
    ///
    /// | rate | without this | lost |
    /// |---|---|---|
    /// | 300/s | 250/s | 16.7 % |
    /// | 700/s | 500/s | 28.6 % |
    /// | 2 000/s | 1 000/s | 50 % |
    ///
    /// With it the whole rate passes, whatever the tick: hits of a cost up to the burst may come early by the
    /// tick as well. So over any time `t` of the clock at most `1 + (t + tolerance + tick) / T` is admitted.
    /// A burst of at least `rate · tick + 1` loses nothing either.
    ///
    /// ```
    /// use core::time::Duration;
    /// use traffik::{Gcra, rate};
    ///
    /// const TICK: Duration = Duration::from_millis(1);
    /// let uplink = Gcra::new(rate!("300/s")).tick(TICK)?;
    /// # Ok::<(), traffik::CapacityError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with a [`CapacityError`] if what may come at once does not fit 64 bits.
    pub const fn tick(self, tick: Duration) -> Result<Self, CapacityError> {
        self.with_slack(self.slack, micros_ceil(tick))
    }

    const fn with_slack(self, slack: Slack, tick: u64) -> Result<Self, CapacityError> {
        let (hits, early) = match slack {
            Slack::Burst(0) => (0, 0),
            // Nothing arrives at a rate of 0, so nothing arrives early.
            Slack::Tolerance(_) if self.meter.drain() == 0 => (0, 0),
            Slack::Burst(burst) => (burst, tick),
            Slack::Tolerance(early) => (1, early.saturating_add(tick)),
        };
        let early = early as u128 * self.meter.drain() as u128;
        let capacity = early.saturating_add(self.meter.units(hits as u64));
        match self.meter.with_capacity(capacity) {
            Ok(meter) => Ok(Self { meter, slack, tick }),
            Err(too_large) => Err(too_large),
        }
    }

    /// The rate it spaces hits by.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.meter.rate
    }
}

impl Strategy for Gcra {
    type Stat = GcraStat;

    metered!(strategy, |it| (it.meter.largest_cost, 0));

    fn stat(&self, state: &Level, class: Class, now: Timestamp) -> GcraStat {
        GcraStat {
            tat: self.expires_at(state, class).max(now),
            interval: Ratio::new(self.meter.unit, self.meter.drain()).ok(),
            conformant: self.peek(state, &Hit::new(1), now).is_allowed(),
        }
    }
}

/// The rate changes; a burst, a tolerance and a tick stay what they are.
impl Scale for Gcra {
    fn scaled(&self, ratio: Ratio) -> Result<Self, CapacityError> {
        Self::new(self.meter.rate.scaled(ratio)).with_slack(self.slack, self.tick)
    }

    /// A tolerance becomes the burst that comes to that part of it. A tick is that of each part.
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

    /// Defect 7 of the original: cost 1000 passed on 60/m and locked the key out; the wait ignored the tolerance.
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

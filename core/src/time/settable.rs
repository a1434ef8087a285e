//! The uptime clock that learns the time of day (feature `critical-section`).

use core::future::Future;
use core::time::Duration;

use super::section_cell::SectionCell;
use super::{Clock, EpochClock, Timer, Timestamp};

/// A clock over one that counts from the start of the device, which is set once the time of day is known.
///
/// Choose it where a receiver, a server or a user provides the time, long after the device started. Until
/// then it counts from the start, and it can be set again. A `static` of it serves tasks and interrupts
/// alike.
///
/// Setting it is a jump for every limit that uses it:
///
/// * **Forward** is as if that time had passed: levels drain by it. A key has at most its whole limit once
///   more.
/// * **Back** by more than a limit lasts, and than a second (in a table up to 2.1 s): the used part begins to
///   drain at the new present, so no key waits for longer than its limit's horizon
///   ([`Strategy::rebase`](crate::Strategy::rebase)). Back by less, a key waits for up to that time more. A
///   bucket admits no more for it, and a window at most its limit once more.
///
/// Each boot begins at 0 again, which is a jump back for states that were kept over it.
///
/// ```
/// use core::time::Duration;
/// use traffik::{Clock, ManualClock, SettableClock, Timestamp};
///
/// // In firmware an `EmbassyClock`, or a `TickClock` over a counter.
/// static CLOCK: SettableClock<ManualClock> = SettableClock::new(ManualClock::new(Timestamp::EPOCH));
/// assert!(!CLOCK.is_set());
/// // The time of a receiver, here 2026-11-21.
/// let midnight = Timestamp::from_micros(1_795_219_200_000_000);
/// CLOCK.set(midnight);
/// CLOCK.uptime().advance(Duration::from_secs(1));
/// assert_eq!(CLOCK.now(), midnight + Duration::from_secs(1));
/// ```
#[derive(Debug, Default)]
pub struct SettableClock<C> {
    uptime: C,
    set: SectionCell<Option<Setting>>,
}

/// The time to which the clock was set, and the uptime at that moment.
#[derive(Clone, Copy, Debug)]
struct Setting {
    uptime: Timestamp,
    now: Timestamp,
}

impl<C> SettableClock<C> {
    /// Creates a clock that returns this uptime until it is set.
    #[must_use]
    pub const fn new(uptime: C) -> Self {
        Self { uptime, set: SectionCell::new(None) }
    }

    /// Returns the clock that counts from the start.
    #[must_use]
    pub const fn uptime(&self) -> &C {
        &self.uptime
    }

    /// Reports whether the clock was ever set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set.get().is_some()
    }
}

impl<C: Clock> SettableClock<C> {
    /// Sets the clock to `now` at this moment; it moves on from there.
    pub fn set(&self, now: Timestamp) {
        // Both within the section, so that of two calls the later one holds.
        self.set.update(|_| Some(Setting { uptime: self.uptime.now(), now }));
    }
}

impl<C: Clock> Clock for SettableClock<C> {
    #[inline]
    fn now(&self) -> Timestamp {
        // Both within the section, so that nobody sets the clock between the two readings.
        let (set, uptime) = self.set.get_with(|| self.uptime.now());
        // now = set.now + (uptime - set.uptime).
        set.map_or(uptime, |set| set.now.plus_micros(uptime.micros_since(set.uptime)))
    }
}

/// The time of day once the clock is set; before, the hours since the start.
impl<C: Clock> EpochClock for SettableClock<C> {}

/// Sleeps by the uptime, which no setting disturbs.
impl<C: Timer> Timer for SettableClock<C> {
    #[inline]
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.uptime.sleep(wait)
    }

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        self.uptime.stopwatch()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fixed, Gcra, Hours, Limiter, ManualClock, Rate, Ratio, TimeOfDay, TokenBucket};

    const MIDNIGHT: Timestamp = Timestamp::from_micros(1_795_219_200_000_000);

    #[test]
    fn a_clock_is_set_later_and_again() {
        static CLOCK: SettableClock<ManualClock> = SettableClock::new(ManualClock::new(Timestamp::EPOCH));
        CLOCK.uptime().advance(Duration::from_secs(5));
        assert_eq!((CLOCK.is_set(), CLOCK.now()), (false, Timestamp::from_micros(5_000_000)));
        for now in [MIDNIGHT, Timestamp::EPOCH, Timestamp::MAX, Timestamp::from_micros(7)] {
            CLOCK.set(now);
            assert_eq!((CLOCK.is_set(), CLOCK.now()), (true, now));
            CLOCK.uptime().advance(Duration::from_secs(1));
            assert_eq!(CLOCK.now(), now + Duration::from_secs(1));
        }
    }

    /// Each jump is followed by at most one burst and the rate; after a jump back nothing waits for longer
    /// than the horizon.
    #[test]
    fn a_jump_drains_forward_and_locks_nothing_back() {
        let clock = SettableClock::new(ManualClock::default());
        let bucket = TokenBucket::new(Rate::per_minute(6));
        let limiter = Limiter::new(bucket, Fixed::<TokenBucket, _, 4>::new(&clock, 1));
        let admitted = || (0..20).filter(|_| limiter.check("key").unwrap().is_allowed()).count();
        assert_eq!(admitted(), 6);
        clock.set(MIDNIGHT);
        assert_eq!((admitted(), admitted()), (6, 0), "forward: full once more");
        for back in [86_400, 60, 2, 365 * 86_400] {
            clock.set(Timestamp::from_micros(clock.now().as_micros() - back * 1_000_000));
            assert_eq!(admitted(), 0, "back by {back} s");
            clock.uptime().advance(Duration::from_secs(10));
            assert_eq!(admitted(), 1, "back by {back} s");
        }
        clock.uptime().advance(Duration::from_secs(60));
        assert_eq!(admitted(), 6);
    }

    /// Limits by the time of day follow a clock that is set.
    #[test]
    fn hours_hold_once_the_clock_is_set() {
        let clock = SettableClock::new(ManualClock::default());
        let double = Ratio::new(2, 1).unwrap();
        let gcra = Gcra::new(Rate::per_second(1));
        let limit = TimeOfDay::new(gcra, [Hours::new((8, 0), (9, 0), double)]).unwrap();
        let limiter = Limiter::new(limit, Fixed::<TimeOfDay<Gcra, 1>, _, 4>::new(&clock, 1));
        let wait = || {
            let _ = limiter.check("key");
            limiter.check("key").unwrap().retry_after()
        };
        assert_eq!(wait(), Some(Duration::from_secs(1)));
        clock.set(MIDNIGHT + Duration::from_secs(8 * 3_600));
        assert_eq!(wait(), Some(Duration::from_millis(500)));
    }
}

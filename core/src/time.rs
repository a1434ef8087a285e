//! Points in time, and where they come from.

use core::fmt;
use core::future::Future;
use core::time::Duration;

use portable_atomic::{AtomicU64, Ordering};

#[cfg(feature = "embassy-time")]
mod embassy;
#[cfg(feature = "serde")]
pub(crate) mod micros;
#[cfg(feature = "embassy-time")]
pub use embassy::EmbassyClock;

/// A point in time: whole microseconds since an epoch, the Unix epoch where the clock knows it.
///
/// One unit is used everywhere. Microseconds since 1970 stay exact in the doubles of a store's scripting
/// language until the year 2255; nanoseconds would not. All arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Timestamp(u64);

impl Timestamp {
    /// The beginning of time as the clock counts it.
    pub const EPOCH: Self = Self(0);
    /// The last point in time that can be expressed.
    pub const MAX: Self = Self(u64::MAX);

    /// The point `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is, in microseconds; 0 if it is not after it.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This point moved later by a number of microseconds.
    #[must_use]
    pub const fn plus_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }
}

impl core::ops::Add<Duration> for Timestamp {
    type Output = Self;

    /// Moves later; a fraction of a microsecond rounds up, so that a wait is never cut short.
    fn add(self, wait: Duration) -> Self {
        self.plus_micros(micros_ceil(wait))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A timestamp as two halves, which asks for no more alignment than they do: a state that holds one and
/// numbers of 32 bits wastes no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Halves([u32; 2]);

impl Halves {
    pub(crate) const fn of(at: Timestamp) -> Self {
        Self([(at.0 >> 32) as u32, at.0 as u32])
    }

    pub(crate) const fn whole(self) -> Timestamp {
        let [high, low] = self.0;
        Timestamp((high as u64) << 32 | low as u64)
    }
}

/// A duration in whole microseconds, rounded up; the longest expressible if it is longer than that.
pub(crate) const fn micros_ceil(duration: Duration) -> u64 {
    let part = duration.subsec_nanos().div_ceil(1_000) as u64;
    duration.as_secs().saturating_mul(1_000_000).saturating_add(part)
}

/// Tells the time.
///
/// * It SHOULD only move forward: a strategy shown an earlier time decides as at its own last time. When it
///   is set back further than a limit lasts, a storage of this process [rebases](crate::Strategy::rebase)
///   each state it is asked for, so a key is denied for no longer than its limit lasts.
/// * Every writer of one store MUST use the same epoch.
pub trait Clock {
    /// The present.
    fn now(&self) -> Timestamp;
}

#[deny(clippy::missing_trait_methods)]
impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// A clock whose timestamps count from the Unix epoch, so that the hour of the day follows from them.
///
/// Limits by [time of day](crate::TimeOfDay), and windows aligned to the calendar, mean something only with
/// such a clock; one that counts from when a device was switched on decides as lawfully, but by hours of its
/// own.
pub trait EpochClock: Clock {}

impl<C: EpochClock + ?Sized> EpochClock for &C {}

/// Waits; the one thing [`Limiter::until_ready`](crate::Limiter::until_ready) asks of an async runtime.
pub trait Timer {
    /// Completes once `wait` has passed, never earlier.
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static;

    /// Returns a function that reports how much time has passed since this call, by the clock that sleeps are
    /// measured by. Defaults to one that does not know: whoever waits by this timer then leaves at the turn
    /// it was told first, also if a sooner one becomes free.
    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        || None
    }
}

/// A clock that stands still until it is moved: virtual time for tests and simulations.
///
/// ```
/// use core::time::Duration;
/// use traffik_core::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::new(Timestamp::EPOCH);
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(clock.now(), Timestamp::from_micros(5_000));
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.0))
    }

    /// Moves the clock to `now`, which may lie in the past: clocks of the real world step back too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    /// Moves the clock forward. Concurrent calls add up.
    pub fn advance(&self, by: Duration) {
        let step = |now: u64| Some(now.saturating_add(micros_ceil(by)));
        // The closure never refuses, so the update never fails.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// It stands at the time of day that it was set to.
impl EpochClock for ManualClock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_and_waits_round_up() {
        assert_eq!(Timestamp::MAX.plus_micros(1), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.micros_since(Timestamp::MAX), 0);
        assert_eq!(Timestamp::EPOCH + Duration::from_nanos(1), Timestamp::from_micros(1));
        assert_eq!(Timestamp::EPOCH + Duration::MAX, Timestamp::MAX);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp::from_micros(7));
        assert_eq!(clock.now(), Timestamp::from_micros(7));
        clock.set(Timestamp::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
        clock.set(Timestamp::EPOCH);
        assert_eq!(clock.now(), Timestamp::EPOCH);
    }
}

//! Clocks and timers.

use core::future::Future;
use core::time::Duration;

use super::Timestamp;

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
    /// measured by. Defaults to one that does not know: a waiter by this timer then leaves at the turn
    /// it was told first, also if a sooner one becomes free.
    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        || None
    }
}

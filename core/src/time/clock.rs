//! The interfaces of clocks and timers.

use core::future::Future;
use core::time::Duration;

use super::Timestamp;

/// A source of the present time.
///
/// Implement it for a clock of your own; the crate `traffik` has clocks of the operating system, and this one
/// [`ManualClock`](crate::ManualClock) for tests.
///
/// * It SHOULD only move forward: a strategy that sees an earlier time decides as of its own last time. If it
///   is set back further than a limit lasts, a storage of this process [rebases](crate::Strategy::rebase)
///   each state that it is asked for, so a key is denied for no longer than its limit lasts.
/// * Every writer of one store MUST use the same epoch.
///
/// ```
/// use traffik::{Clock, Timestamp};
///
/// /// Milliseconds of a hardware timer.
/// struct Uptime(fn() -> u32);
///
/// impl Clock for Uptime {
///     fn now(&self) -> Timestamp {
///         Timestamp::from_micros(u64::from((self.0)()) * 1_000)
///     }
/// }
/// assert_eq!(Uptime(|| 7).now(), Timestamp::from_micros(7_000));
/// ```
pub trait Clock {
    /// Returns the present.
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
/// Limits by [time of day](crate::TimeOfDay), and windows aligned to the calendar, need such a clock. A clock
/// that counts from the start of a device decides as lawfully, but by hours of its own.
///
/// ```
/// use traffik::{EpochClock, ManualClock};
///
/// fn hour_of_day(clock: &impl EpochClock) -> u64 {
///     clock.now().as_micros() / 3_600_000_000 % 24
/// }
/// assert_eq!(hour_of_day(&ManualClock::default()), 0);
/// ```
pub trait EpochClock: Clock {}

impl<C: EpochClock + ?Sized> EpochClock for &C {}

/// A timer: the one thing that [`Limiter::until_ready`](crate::Limiter::until_ready) needs of an async
/// runtime.
///
/// Every runtime of `traffik::runtime` is one; implement it for any other.
///
/// ```
/// use core::time::Duration;
/// use std::future::Future;
/// use traffik::Timer;
///
/// /// A thread for each sleep: simple, and slow.
/// struct Threads;
///
/// impl Timer for Threads {
///     fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
///         async move { std::thread::sleep(wait) }
///     }
/// }
/// assert!(Threads.stopwatch()().is_none()); // the default
/// ```
pub trait Timer {
    /// Completes once `wait` has passed, never earlier.
    ///
    /// A dropped future MUST leave nothing behind.
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static;

    /// Returns a function that reports the time since this call, by the clock that sleeps are measured by.
    ///
    /// Defaults to a function that returns `None`. A delayed admission by such a timer leaves at the turn
    /// that it was given first, also if a sooner one becomes free.
    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        || None
    }
}

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
///   each state that a hit needs, so a key is denied for no longer than its limit lasts.
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
    /// Returns the present time.
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
/// Limits by [time of day](crate::TimeOfDay), and windows aligned to the calendar, need such a clock. By a
/// clock that counts from the start of a device they keep their bounds, but their hours count from that
/// start.
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
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use traffik::Timer;
///
/// /// Counts the sleeps of another timer.
/// struct Counted<T>(T, AtomicU32);
///
/// impl<T: Timer> Timer for Counted<T> {
///     fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
///         self.1.fetch_add(1, Ordering::Relaxed);
///         self.0.sleep(wait)
///     }
/// }
///
/// let runtime = traffik::runtime::Manual::new();
/// let timer = Counted(runtime.clone(), AtomicU32::new(0));
/// runtime.run(timer.sleep(Duration::from_secs(3_600)))?; // at once: it is virtual time
/// assert_eq!(timer.1.into_inner(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Timer {
    /// Completes once `wait` has passed, never earlier.
    ///
    /// Dropping the future ends the sleep.
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static;

    /// Returns a function that reports the time since this call, by the clock that sleeps are measured by.
    ///
    /// Defaults to a function that returns `None`. By such a timer a delayed admission keeps the turn that it
    /// was given first, even if a sooner one becomes free.
    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        || None
    }
}

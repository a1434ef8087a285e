//! The interface to a runtime: now, sleep, timeout, interval and spawn.

use std::fmt;
use std::future::{Future, pending};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use traffik_core::Timer;

/// An async runtime: it sleeps, spawns and measures time. Take one of the runtimes of this module, or
/// implement the trait for another.
///
/// * `sleep`, from [`Timer`], MUST NOT complete before [`now`](Self::now) has advanced by its duration.
/// * A spawned future MUST run although nothing awaits it.
/// * Methods MUST NOT block. A clone MUST be the same runtime.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::time::{Duration, Instant};
/// use traffik::Timer;
/// use traffik::runtime::Runtime;
///
/// /// Counts the tasks of another runtime.
/// #[derive(Clone)]
/// struct Counted<R>(R, Arc<AtomicUsize>);
///
/// impl<R: Runtime> Timer for Counted<R> {
///     fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
///         self.0.sleep(wait)
///     }
///
///     fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
///         self.0.stopwatch()
///     }
/// }
///
/// impl<R: Runtime> Runtime for Counted<R> {
///     fn now(&self) -> Instant {
///         self.0.now()
///     }
///
///     fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
///         self.1.fetch_add(1, Ordering::Relaxed);
///         self.0.spawn(future);
///     }
/// }
/// ```
pub trait Runtime: Timer + Clone + Send + Sync + 'static {
    /// Returns the present, by the clock that measures sleeps. It never goes back.
    fn now(&self) -> Instant;

    /// Runs a future to its end in the background. It continues after the caller has ended.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// Returns the output of a future that completes within `limit`.
    ///
    /// Waits for at most `limit`. Dropping the returned future drops `future`.
    ///
    /// # Errors
    ///
    /// Fails with [`Elapsed`] if the future has not completed after `limit`, and drops it.
    fn timeout<F: Future + Send>(
        &self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + Send
    where
        F::Output: Send,
    {
        async move {
            // The future is polled first, so that an output that is there in time is never lost.
            match select(pin!(future), pin!(self.sleep(limit))).await {
                Either::Left((output, _)) => Ok(output),
                Either::Right(((), _)) => Err(Elapsed(limit)),
            }
        }
    }

    /// Returns an interval that ticks every `period`, for the first time after one `period`.
    ///
    /// `interval.tick().await` completes at the next tick. Dropping that future leaves the tick to the next
    /// call. A late tick does not delay the ticks after it. A late call completes at once, one time for all
    /// missed ticks, and the next call completes when its tick is due.
    fn interval(&self, period: Duration) -> Interval<Self> {
        Interval::new(self.clone(), period)
    }
}

/// The error of [`Runtime::timeout`]: the future did not complete in this time.
///
/// ```
/// use std::time::Duration;
/// use traffik::runtime::Elapsed;
///
/// assert_eq!(Elapsed(Duration::from_millis(50)).to_string(), "the future was not done within 50ms");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(pub Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the future was not done within {:?}", self.0)
    }
}

impl std::error::Error for Elapsed {}

/// The ticks at whole periods from a start, made by [`Runtime::interval`].
///
/// Choose it for work that repeats. A late tick does not delay the ticks after it. A late call completes at
/// once, one time for all missed ticks, and the next call completes when its tick is due.
///
/// ```
/// # #[cfg(feature = "manual")] {
/// use std::time::Duration;
/// use traffik::runtime::{Manual, Runtime};
///
/// let runtime = Manual::new();
/// let mut interval = runtime.interval(Duration::from_secs(60));
/// runtime.run(async { interval.tick().await; interval.tick().await })?;
/// assert_eq!(runtime.now().as_micros(), 120_000_000);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Interval<R> {
    runtime: R,
    period: Duration,
    /// The time of the next tick; `None` if an `Instant` cannot represent it.
    next: Option<Instant>,
}

impl<R: Runtime> Interval<R> {
    /// Returns an interval; a period of zero counts as 1 ns.
    fn new(runtime: R, period: Duration) -> Self {
        let period = period.max(Duration::from_nanos(1));
        let next = runtime.now().checked_add(period);
        Self { runtime, period, next }
    }

    /// Waits for the next tick: for at most one period, or forever if an `Instant` cannot represent the tick.
    /// Dropping the future leaves the tick to the next call.
    pub async fn tick(&mut self) {
        // `next` changes only after the sleep, so a future that is dropped there has used no tick.
        let Some(next) = self.next else { return pending().await };
        self.runtime.sleep(next.saturating_duration_since(self.runtime.now())).await;
        let late = self.runtime.now().saturating_duration_since(next);
        // With now = next + late, the next tick on the grid is next + (late - late mod period) + period.
        let over = late.as_nanos() % self.period.as_nanos();
        self.next = nanoseconds(late.as_nanos() - over)
            .and_then(|late| next.checked_add(late)?.checked_add(self.period));
    }
}

/// Returns a duration; `None` if it does not fit.
fn nanoseconds(nanos: u128) -> Option<Duration> {
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

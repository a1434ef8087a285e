//! Now, sleep, timeout, interval and spawn, without saying on what.

use std::fmt;
use std::future::{Future, pending};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use traffik_core::Timer;

/// An async runtime, as far as traffik needs one.
///
/// * `sleep`, from [`Timer`], MUST NOT complete before [`now`](Self::now) has moved on by as much.
/// * A spawned future MUST run without anybody waiting for it.
/// * No method MUST block; a clone MUST be the same runtime.
pub trait Runtime: Timer + Clone + Send + Sync + 'static {
    /// The present, by the clock that sleeps are measured by. It never goes back.
    fn now(&self) -> Instant;

    /// Runs a future to its end in the background.
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static);

    /// The output of a future, if it is there within `limit`; else the future is dropped.
    ///
    /// # Errors
    ///
    /// Fails with `Elapsed` after `limit`.
    fn timeout<F: Future + Send>(
        &self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, Elapsed>> + Send
    where
        F::Output: Send,
    {
        async move {
            // The future comes first: what is there in time is never thrown away.
            match select(pin!(future), pin!(self.sleep(limit))).await {
                Either::Left((output, _)) => Ok(output),
                Either::Right(((), _)) => Err(Elapsed(limit)),
            }
        }
    }

    /// Returns an interval that ticks every `period`, for the first time after one.
    ///
    /// `interval.tick().await` completes at the next tick; dropping that future leaves the tick to the next
    /// caller. A tick that comes late delays none of those after it. A caller that asks late gets one tick at
    /// once, for all that were missed, and the next when it is due.
    fn interval(&self, period: Duration) -> Interval<Self> {
        Interval::new(self.clone(), period)
    }
}

/// A future did not complete in the time it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(pub Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not done within {:?}", self.0)
    }
}

impl std::error::Error for Elapsed {}

/// Ticks at whole periods from when it was made, by [`Runtime::interval`].
///
/// A tick that comes late delays none of those after it. Who asks late gets one tick at once, for all that
/// were missed, and the next when it is due.
#[derive(Clone, Debug)]
pub struct Interval<R> {
    runtime: R,
    period: Duration,
    /// When the next tick is; `None` if that is later than can be told.
    next: Option<Instant>,
}

impl<R: Runtime> Interval<R> {
    /// A period of zero is taken for one of a nanosecond.
    fn new(runtime: R, period: Duration) -> Self {
        let period = period.max(Duration::from_nanos(1));
        let next = runtime.now().checked_add(period);
        Self { runtime, period, next }
    }

    /// Completes at the next tick. Dropping the future leaves that tick to whoever asks next.
    pub async fn tick(&mut self) {
        let Some(next) = self.next else { return pending().await };
        self.runtime.sleep(next.saturating_duration_since(self.runtime.now())).await;
        let late = self.runtime.now().saturating_duration_since(next);
        let over = late.as_nanos() % self.period.as_nanos();
        self.next =
            whole(late.as_nanos() - over).and_then(|late| next.checked_add(late)?.checked_add(self.period));
    }
}

fn whole(nanos: u128) -> Option<Duration> {
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

//! Ticks that keep to their times, however late one of them was.

use std::future::pending;
use std::time::{Duration, Instant};

use crate::Runtime;

/// Ticks at whole periods from when it was made, by [`Runtime::interval`].
///
/// A tick that comes late delays none of those after it. Who asks late gets one tick at once, for all that were missed,
/// and the next when it is due.
#[derive(Clone, Debug)]
pub struct Interval<R> {
    runtime: R,
    period: Duration,
    /// When the next tick is; `None` if that is later than can be told.
    next: Option<Instant>,
}

impl<R: Runtime> Interval<R> {
    /// A period of zero is taken for one of a nanosecond.
    pub(crate) fn new(runtime: R, period: Duration) -> Self {
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

//! Now, sleep, timeout, interval and spawn, without saying on what.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use traffik_core::Timer;

use crate::Interval;

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

    /// Ticks every `period`, for the first time after one.
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

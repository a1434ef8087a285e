//! Sleep, timeout and spawn, without saying on what.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use traffik_core::Timer;

/// An async runtime, as far as traffik needs one.
///
/// * `sleep`, from [`Timer`], MUST NOT complete early.
/// * A spawned future MUST run without anybody waiting for it.
pub trait Runtime: Timer + Clone + Send + Sync + 'static {
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

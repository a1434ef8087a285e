//! Waiting and running in the background, on the runtime that connections are on.

use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::task::JoinHandle;
use traffik_core::storage::Failure;

/// Waits until `end`.
pub(super) async fn until(end: Instant) {
    wait(end.saturating_duration_since(Instant::now())).await;
}

/// Waits on tokio within tokio, else on smol where that is turned on. Elsewhere no connection is made, and
/// nothing waits.
pub(super) async fn wait(time: Duration) {
    if Handle::try_current().is_ok() {
        tokio::time::sleep(time).await;
    } else {
        #[cfg(feature = "redis-smol")]
        smol::Timer::after(time).await;
    }
}

/// The runtime that a connection is on: one of tokio's, or smol's, of which there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RuntimeId {
    Tokio(Id),
    #[cfg(feature = "redis-smol")]
    Smol,
}

/// Returns the present runtime; fails where there is none to connect on, for the driver would panic.
pub(super) fn runtime() -> Result<RuntimeId, Failure> {
    match Handle::try_current() {
        Ok(tokio) => Ok(RuntimeId::Tokio(tokio.id())),
        #[cfg(feature = "redis-smol")]
        Err(_) => Ok(RuntimeId::Smol),
        #[cfg(not(feature = "redis-smol"))]
        Err(_) => {
            const NONE: &str =
                "Redis was asked outside of tokio; turn on the feature redis-smol for smol and async-std";
            Err(Failure::new(traffik_core::ErrorKind::Unavailable, NONE))
        }
    }
}

/// Whether this runs on smol.
#[cfg(feature = "redis-smol")]
pub(super) fn is_outside_tokio() -> bool {
    Handle::try_current().is_err()
}

/// A future that runs in the background until it has ended, or this is dropped.
pub(super) struct BackgroundTask(Option<Running>);

enum Running {
    Tokio(JoinHandle<()>),
    #[cfg(feature = "redis-smol")]
    Smol(smol::Task<()>),
}

/// Runs a future in the background: on tokio within tokio, else on smol where that is turned on.
pub(super) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Result<BackgroundTask, Failure> {
    if let Ok(tokio) = Handle::try_current() {
        return Ok(BackgroundTask(Some(Running::Tokio(tokio.spawn(future)))));
    }
    #[cfg(feature = "redis-smol")]
    return Ok(BackgroundTask(Some(Running::Smol(smol::spawn(future)))));
    #[cfg(not(feature = "redis-smol"))]
    runtime().map(|_| BackgroundTask(None))
}

impl BackgroundTask {
    /// Lets it run to its end.
    pub(super) fn detach(mut self) {
        match self.0.take() {
            #[cfg(feature = "redis-smol")]
            Some(Running::Smol(task)) => task.detach(),
            Some(Running::Tokio(_)) | None => {}
        }
    }
}

impl Drop for BackgroundTask {
    fn drop(&mut self) {
        // A task of smol's ends when it is dropped.
        if let Some(Running::Tokio(handle)) = &self.0 {
            handle.abort();
        }
    }
}

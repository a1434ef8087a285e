//! The runtime that connections are on, with its timers and its tasks.

use std::time::{Duration, Instant};

use traffik_core::ErrorKind;
use traffik_core::storage::BackendError;

use super::{on_smol, on_tokio};

/// Whether a runtime offers a timer for calls.
pub(in super::super) const HAS_TIMER: bool = true;

/// The identity of a runtime: one of tokio's, or smol's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RuntimeId {
    Tokio(on_tokio::Id),
    Smol(on_smol::Id),
}

impl RuntimeId {
    /// Returns tokio's within tokio, else smol's if its feature is on.
    #[inline]
    pub(super) fn current() -> Option<Self> {
        on_tokio::current().map(Self::Tokio).or_else(|| on_smol::current().map(Self::Smol))
    }
}

/// Returns the present runtime. Fails if there is none to connect on, where tokio's functions would panic.
#[inline]
pub(super) fn runtime() -> Result<RuntimeId, BackendError> {
    RuntimeId::current().ok_or_else(none)
}

/// Fails if no runtime offers a timer.
pub(in super::super) fn has_timer() -> Result<(), BackendError> {
    runtime().map(drop)
}

#[cold]
fn none() -> BackendError {
    const NONE: &str = "Redis was called outside of a tokio runtime; turn on the feature smol for other \
                        executors, or give a timer to a storage on connections of yours (RedisBuilder::timer)";
    BackendError::new(ErrorKind::Unavailable, NONE)
}

/// Waits until `end`.
pub(super) async fn until(end: Instant) {
    wait(end.saturating_duration_since(Instant::now())).await;
}

/// Waits on the present runtime. Without one, no connection is made, and this returns at once.
pub(in super::super) async fn wait(time: Duration) {
    match RuntimeId::current() {
        Some(RuntimeId::Tokio(id)) => on_tokio::wait(id, time).await,
        Some(RuntimeId::Smol(id)) => on_smol::wait(id, time).await,
        None => {}
    }
}

/// A background task, which ends when this is dropped.
pub(in super::super) enum BackgroundTask {
    Tokio(on_tokio::Task),
    Smol(on_smol::Task),
}

/// Runs a future in the background of the present runtime.
pub(in super::super) fn spawn(
    future: impl Future<Output = ()> + Send + 'static,
) -> Result<BackgroundTask, BackendError> {
    Ok(match runtime()? {
        RuntimeId::Tokio(id) => BackgroundTask::Tokio(on_tokio::spawn(id, future)),
        RuntimeId::Smol(id) => BackgroundTask::Smol(on_smol::spawn(id, future)),
    })
}

impl BackgroundTask {
    /// Lets the task run to its end.
    pub(in super::super) fn detach(self) {
        match self {
            Self::Tokio(task) => task.detach(),
            Self::Smol(task) => task.detach(),
        }
    }
}

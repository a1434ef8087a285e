//! Waiting, on the runtime that connections are on.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use traffik_core::storage::{ErrorKind, Failure};

/// Waits until `end`.
pub(super) async fn until(end: Instant) {
    wait(end.saturating_duration_since(Instant::now())).await;
}

/// Waits on tokio within tokio, else on smol where that is turned on. Elsewhere no connection is made, and nothing waits.
pub(super) async fn wait(time: Duration) {
    if Handle::try_current().is_ok() {
        tokio::time::sleep(time).await;
    } else {
        #[cfg(feature = "redis-smol")]
        smol::Timer::after(time).await;
    }
}

/// Fails where there is no runtime to connect on: the driver would panic.
pub(super) fn has_runtime() -> Result<(), Failure> {
    const NONE: &str =
        "Redis was asked outside of tokio; turn on the feature redis-smol for smol and async-std";
    let has_one = cfg!(feature = "redis-smol") || Handle::try_current().is_ok();
    has_one.then_some(()).ok_or_else(|| Failure::new(ErrorKind::Unavailable, NONE))
}

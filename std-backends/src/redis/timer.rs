//! Waiting, on the runtime that connections are on.

use std::time::{Duration, Instant};

/// Waits until `end`.
pub(super) async fn until(end: Instant) {
    wait(end.saturating_duration_since(Instant::now())).await;
}

/// Waits on tokio.
#[cfg(not(feature = "smol"))]
pub(super) async fn wait(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits on tokio within tokio, else on smol.
#[cfg(feature = "smol")]
pub(super) async fn wait(time: Duration) {
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::time::sleep(time).await;
    } else {
        smol::Timer::after(time).await;
    }
}

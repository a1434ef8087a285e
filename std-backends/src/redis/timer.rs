//! Waiting, on the runtime that connections are on.

use std::time::{Duration, Instant};

/// Waits for this time: by tokio's clock within tokio, else by smol's.
pub(super) async fn until(end: Instant) {
    wait(end.saturating_duration_since(Instant::now())).await;
}

pub(super) async fn wait(time: Duration) {
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::time::sleep(time).await;
    } else {
        smol::Timer::after(time).await;
    }
}

//! Waiting, on the runtime that connections are on.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use traffik_core::storage::Failure;

/// Waits until `end`.
pub(super) async fn until(end: Instant) {
    wait(end.saturating_duration_since(Instant::now())).await;
}

/// Waits on tokio within tokio, else on smol where that is turned on. Elsewhere no connection is made, and nothing waits.
pub(super) async fn wait(time: Duration) {
    if Handle::try_current().is_ok() {
        tokio::time::sleep(time).await;
    } else {
        elsewhere::wait(time).await;
    }
}

/// Fails where there is no runtime to connect on: the driver would panic.
pub(super) fn has_runtime() -> Result<(), Failure> {
    if Handle::try_current().is_ok() { Ok(()) } else { elsewhere::has_runtime() }
}

#[cfg(feature = "redis-smol")]
mod elsewhere {
    use super::{Duration, Failure};

    pub(super) async fn wait(time: Duration) {
        smol::Timer::after(time).await;
    }

    pub(super) const fn has_runtime() -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(not(feature = "redis-smol"))]
mod elsewhere {
    use traffik_core::ErrorKind;

    use super::{Duration, Failure};

    pub(super) async fn wait(_: Duration) {}

    pub(super) fn has_runtime() -> Result<(), Failure> {
        Err(Failure::new(
            ErrorKind::Unavailable,
            "Redis was asked outside of tokio; turn on the feature redis-smol for smol and async-std",
        ))
    }
}

//! When a circuit breaker opens and closes.

use std::time::Duration;

use traffik_core::Ratio;
use traffik_core::storage::ErrorKind;

pub(super) struct BreakerSettings {
    /// Failures in a row.
    pub(super) failures: Option<u32>,
    pub(super) share: Option<Share>,
    pub(super) slow: Option<Duration>,
    pub(super) open_for: Duration,
    pub(super) jitter: Duration,
    pub(super) successes: u32,
    pub(super) counts: fn(ErrorKind) -> bool,
}

pub(super) struct Share {
    pub(super) most: Ratio,
    pub(super) calls: u32,
    pub(super) window: Duration,
}

/// The kinds of failure that say that a storage as a whole is ill, and not that one call was: all but
/// `Contended`, `Full`, `Invalid` and `DecodeError`, which it takes a storage that answers to tell, and `Closed`,
/// which was wanted.
#[must_use]
pub fn is_outage(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::Contended | ErrorKind::Full | ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Closed
    )
}

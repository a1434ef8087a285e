//! The settings of a circuit breaker.

use std::time::Duration;

use traffik_core::Ratio;
use traffik_core::storage::ErrorKind;

/// The settings of a breaker.
pub(super) struct BreakerSettings {
    /// The failures in a row that open it.
    pub(super) failures: Option<u32>,
    pub(super) share: Option<Share>,
    pub(super) slow: Option<Duration>,
    pub(super) open_for: Duration,
    pub(super) jitter: Duration,
    pub(super) successes: u32,
    pub(super) counts: fn(ErrorKind) -> bool,
}

/// The failure rate that opens a breaker.
pub(super) struct Share {
    /// The least part of the calls that must fail.
    pub(super) rate: Ratio,
    /// The least number of calls within the window.
    pub(super) calls: u32,
    pub(super) window: Duration,
}

/// Returns whether a kind of failure means that the storage as a whole is down, and not that one call failed.
///
/// That holds for all kinds but five. Only a storage that answers reports `Contended`, `Full`, `Invalid` and
/// `Corrupt`; the program itself caused `Closed`. A breaker and a failover use this by default.
///
/// ```
/// use traffik::ErrorKind;
/// use traffik::layer::is_outage;
///
/// assert!(is_outage(ErrorKind::Unavailable) && !is_outage(ErrorKind::Contended));
/// ```
#[must_use]
pub fn is_outage(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::Contended | ErrorKind::Full | ErrorKind::Invalid | ErrorKind::Corrupt | ErrorKind::Closed
    )
}

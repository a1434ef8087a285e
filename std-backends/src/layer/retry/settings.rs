//! The settings of a retry, and the failures worth one.

use std::time::Duration;

use traffik_core::storage::ErrorKind;

use crate::layer::Backoff;

/// The settings of a retry.
pub(super) struct RetrySettings {
    pub(super) attempts: u32,
    pub(super) on: fn(ErrorKind) -> bool,
    pub(super) after_timeouts: bool,
    pub(super) backoff: Backoff,
    pub(super) deadline: Option<Duration>,
}

/// Returns whether a failure charged nothing and may be over by the next attempt: `Contended` and
/// `Unavailable`.
///
/// ```
/// use traffik::ErrorKind;
/// use traffik::layer::is_transient;
///
/// assert!(is_transient(ErrorKind::Unavailable) && !is_transient(ErrorKind::Invalid));
/// ```
#[must_use]
pub fn is_transient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Contended | ErrorKind::Unavailable)
}

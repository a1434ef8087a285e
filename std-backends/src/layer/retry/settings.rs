//! How often a storage is asked again, and after which failures.

use std::time::Duration;

use traffik_core::storage::ErrorKind;

use crate::layer::Backoff;

pub(super) struct RetrySettings {
    pub(super) attempts: u32,
    pub(super) on: fn(ErrorKind) -> bool,
    pub(super) after_timeouts: bool,
    pub(super) backoff: Backoff,
    pub(super) deadline: Option<Duration>,
}

/// The kinds of failure after which nothing was charged and that may have passed by the next attempt:
/// `Contended` and `Unavailable`.
#[must_use]
pub fn is_transient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Contended | ErrorKind::Unavailable)
}

//! Failures of connecting, and of commands that were not sent.

use redis::{ErrorKind as Kind, RedisError};
use traffik_core::storage::{BackendError, ErrorKind};

use super::{failure, is_full_of_clients};

/// Returns the failure of a call that was never sent.
pub(in super::super) fn unsent(server: &str, error: RedisError) -> BackendError {
    let failure = failure(server, error);
    match failure.kind() {
        ErrorKind::Timeout | ErrorKind::Invalid => failure.with_kind(ErrorKind::Unavailable),
        _ => failure,
    }
}

/// Returns whether a command was certainly not sent.
pub(in super::super) fn is_not_sent(error: &RedisError) -> bool {
    error.kind() == Kind::Client
}

/// Returns whether the answer to a greeting refuses the client, and not only the greeting.
pub(in super::super) fn refusal(error: &RedisError) -> bool {
    is_full_of_clients(error)
        || matches!(error.code(), Some("NOAUTH" | "DENIED" | "LOADING" | "MASTERDOWN" | "WRONGPASS"))
}

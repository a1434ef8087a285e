//! What a failed call means to whoever waits for it.

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};
use traffik_core::storage::{ErrorKind, Failure};

/// The failure of a call that had been sent, as far as it got there.
pub(super) fn failure(error: RedisError) -> Failure {
    let kind = match error.kind() {
        // Nobody can tell what the server did before the connection broke, in the middle of an answer or before it.
        Kind::Io | Kind::Parse => ErrorKind::Timeout,
        Kind::AuthenticationFailed | Kind::Server(Server::NoPerm) => ErrorKind::Denied,
        Kind::Server(
            Server::BusyLoading
            | Server::MasterDown
            | Server::ClusterDown
            | Server::ReadOnly
            | Server::TryAgain
            | Server::Moved
            | Server::Ask,
        )
        | Kind::MasterNameNotFoundBySentinel => ErrorKind::Unavailable,
        Kind::InvalidClientConfig | Kind::EmptySentinelList => ErrorKind::Invalid,
        Kind::UnexpectedReturnType => ErrorKind::Corrupt,
        _ => match error.code() {
            // A value that no storage of ours wrote.
            Some("WRONGTYPE") => ErrorKind::Corrupt,
            Some("OOM" | "MISCONF") => ErrorKind::Full,
            Some("NOAUTH" | "WRONGPASS") => ErrorKind::Denied,
            _ => ErrorKind::Other,
        },
    };
    Failure::new(kind, error)
}

/// The error that is behind a failure, if one of the driver's is.
pub(super) fn cause(failure: &Failure) -> Option<&RedisError> {
    failure.cause().downcast_ref()
}

/// The failure of a call that charges nothing, whatever became of it.
pub(super) fn of_a_look(failure: Failure) -> Failure {
    match failure.kind() {
        ErrorKind::Timeout => failure.with_kind(ErrorKind::Unavailable),
        _ => failure,
    }
}

/// The failure of a call that was never sent.
pub(super) fn unsent(error: RedisError) -> Failure {
    let failure = failure(error.clone());
    match failure.kind() {
        ErrorKind::Timeout => Failure::new(ErrorKind::Unavailable, error),
        _ => failure,
    }
}

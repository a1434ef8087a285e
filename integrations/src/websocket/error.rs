//! What can go wrong between a socket and its reader.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use traffik_core::Outcome;
use traffik_core::storage::BackendError;

/// Why a message was not read or written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WsError<E> {
    /// The socket says so.
    Socket(E),
    /// It was denied and dropped, and the policy is to [raise](super::WsAction::Raise) that. More can be read.
    Throttled(Outcome),
    /// It could not be decided upon and was dropped, and the policy is to [raise](super::WsOnError::Raise) that. More
    /// can be read.
    Storage(BackendError),
}

impl<E> WsError<E> {
    /// How long the peer has to wait until such a message would pass; `None` if nothing was denied, or waiting is in vain.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled(Outcome::Deny { retry_after }) => Some(*retry_after),
            _ => None,
        }
    }
}

impl<E> From<E> for WsError<E> {
    fn from(error: E) -> Self {
        Self::Socket(error)
    }
}

impl<E: fmt::Display> fmt::Display for WsError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => error.fmt(f),
            Self::Throttled(Outcome::Deny { retry_after }) => {
                write!(f, "rate limit exceeded, for another {retry_after:?}")
            }
            Self::Throttled(_) => f.write_str("the rate limit can never admit such a message"),
            Self::Storage(failure) => failure.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for WsError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Socket(error) => error.source(),
            Self::Throttled(_) => None,
            Self::Storage(failure) => failure.source(),
        }
    }
}

//! The error of a limited socket.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use traffik_core::Outcome;
use traffik_core::storage::BackendError;

/// The error of a [`WsThrottle`](super::WsThrottle): of its socket, of the limit or of the storage. After
/// `Throttled` and `Storage` the stream can be read on.
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use std::time::Duration;
/// use traffik::Outcome;
/// use traffik::web::WsError;
///
/// fn hint(error: &WsError<tungstenite::Error>) -> String {
///     match error {
///         WsError::Throttled(_) => format!("slow down: {error}"),
///         WsError::Storage(_) => "try again later".to_owned(),
///         other => format!("disconnected: {other}"),
///     }
/// }
/// let denied = WsError::Throttled(Outcome::Deny { retry_after: Duration::from_secs(2) });
/// assert_eq!(hint(&denied), "slow down: the message is over the rate limit; try again in 2s");
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WsError<E> {
    /// The socket failed.
    Socket(E),
    /// A message was denied and dropped, and the action of the policy is [`Raise`](super::WsAction::Raise).
    Throttled(Outcome),
    /// The storage failed, the message was dropped, and the policy's reaction to failures is
    /// [`Raise`](super::WsOnError::Raise).
    Storage(BackendError),
}

impl<E> WsError<E> {
    /// Returns how long the peer has to wait until such a message can pass; `None` if nothing was denied, or
    /// if it can never pass.
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
                write!(f, "the message is over the rate limit; try again in {retry_after:?}")
            }
            Self::Throttled(_) => f.write_str("the message costs more than the rate limit can ever admit"),
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

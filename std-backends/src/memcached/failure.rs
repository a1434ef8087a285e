//! Failures of calls: their kinds and their texts.

use std::fmt::Display;
use std::io::{self, Error};

use traffik_core::storage::{BackendError, ErrorKind};

use super::command::says;

/// The replies of servers that have no room, for this item or for any.
const FULL: [&str; 3] =
    ["SERVER_ERROR out of memory", "SERVER_ERROR Out of memory", "SERVER_ERROR object too large"];

/// The reason why a call has no answer.
#[derive(Debug)]
pub(super) enum CallFailure {
    /// The connection broke, or the server refused.
    Broken(Error),
    /// The deadline passed before an answer.
    Late,
}

impl CallFailure {
    /// Returns whether the connection broke before an answer.
    pub(super) fn is_broken(&self) -> bool {
        match self {
            Self::Broken(error) => !is_refusal(error) && error.kind() != io::ErrorKind::InvalidData,
            Self::Late => false,
        }
    }

    /// Returns the failure of a call to the server of this title. Without an answer, the outcome of a call
    /// that was sent is unknown.
    pub(super) fn failure(self, title: &str, may_have_changed: bool) -> BackendError {
        let unanswered = if may_have_changed { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        match self {
            Self::Late => failure(unanswered, title, "no answer in time"),
            Self::Broken(error) => match () {
                () if FULL.iter().any(|words| says(&error, words)) => failure(ErrorKind::Full, title, error),
                () if says(&error, "CLIENT_ERROR unauthenticated") => {
                    let cause =
                        format!("{error}; the storage sends no password, so start the server without -Y");
                    failure(ErrorKind::Denied, title, cause)
                }
                () if says(&error, "ERROR Too many open connections") => {
                    failure(ErrorKind::Unavailable, title, error)
                }
                () if error.get_ref().is_some_and(|words| words.to_string().trim_ascii_end() == "ERROR") => {
                    let cause = "the server does not know a command; use memcached itself, 1.6 or later";
                    failure(ErrorKind::Other, title, cause)
                }
                () if is_refusal(&error) => failure(ErrorKind::Other, title, error),
                () if error.kind() == io::ErrorKind::UnexpectedEof => {
                    failure(unanswered, title, "the server closed the connection")
                }
                () => failure(unanswered, title, error),
            },
        }
    }
}

/// Returns whether an error is the server's own text.
fn is_refusal(error: &Error) -> bool {
    ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].iter().any(|words| says(error, words))
}

/// Returns a failure that names the server and the cause once each, and says whether the hit was charged.
pub(super) fn failure(kind: ErrorKind, title: &str, cause: impl Display) -> BackendError {
    let cause = cause.to_string();
    let outcome = match kind {
        ErrorKind::Timeout => "; the hit may have been charged",
        ErrorKind::Other => "",
        _ => "; nothing was charged",
    };
    BackendError::new(kind, format!("{title}: {}{outcome}", cause.trim_ascii_end()))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind as Io;

    use super::*;

    #[test]
    fn what_the_server_says_decides_and_else_whether_it_was_asked() {
        let outcome = |words: &str| CallFailure::Broken(Error::other(words.to_owned())).failure("here", true);
        let full = outcome("SERVER_ERROR out of memory storing object\r\n");
        assert_eq!(full.kind(), ErrorKind::Full);
        assert_eq!(full.to_string(), "here: SERVER_ERROR out of memory storing object; nothing was charged");
        assert_eq!(outcome("SERVER_ERROR Out of memory allocating new item").kind(), ErrorKind::Full);
        assert_eq!(outcome("CLIENT_ERROR unauthenticated").kind(), ErrorKind::Denied);
        assert_eq!(outcome("ERROR Too many open connections\r\n").kind(), ErrorKind::Unavailable);
        assert_eq!(outcome("ERROR\r\n").kind(), ErrorKind::Other);
        for kind in [Io::UnexpectedEof, Io::ConnectionReset, Io::InvalidData, Io::Other] {
            let outcome = |changes| CallFailure::Broken(kind.into()).failure("here", changes).kind();
            assert_eq!(
                [outcome(true), outcome(false)],
                [ErrorKind::Timeout, ErrorKind::Unavailable],
                "{kind:?}"
            );
        }
    }

    #[test]
    fn a_refusal_or_nonsense_is_an_answer() {
        let broken = |error: Error| CallFailure::Broken(error).is_broken();
        assert!(broken(Io::UnexpectedEof.into()) && broken(Error::other("the runtime ends")));
        assert!(!broken(Error::other("SERVER_ERROR busy")) && !broken(Io::InvalidData.into()));
        assert!(!CallFailure::Late.is_broken());
    }
}

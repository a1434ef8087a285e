//! What a failed call means to whoever waits for it.

use std::io::Error;

use traffik_core::storage::{ErrorKind, Failure};

use super::command::says;

/// What servers say that have no room, for this item or for any.
const FULL: [&str; 3] =
    ["SERVER_ERROR out of memory", "SERVER_ERROR Out of memory", "SERVER_ERROR object too large"];

/// The failure of a call. Nobody can tell what became of one that was sent if its answer is not there.
pub(super) fn failure(error: Error, may_have_changed: bool) -> Failure {
    let kind = match () {
        () if FULL.iter().any(|words| says(&error, words)) => ErrorKind::Full,
        () if says(&error, "CLIENT_ERROR unauthenticated") => ErrorKind::Denied,
        () if ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].iter().any(|words| says(&error, words)) => {
            ErrorKind::Other
        }
        () if may_have_changed => ErrorKind::Timeout,
        () => ErrorKind::Unavailable,
    };
    Failure::new(kind, error)
}

/// No answer in time.
pub(super) fn late(address: &str, may_have_changed: bool) -> Failure {
    if may_have_changed {
        let message = format!("{address} did not answer in time; the hit may have been charged");
        return Failure::new(ErrorKind::Timeout, message);
    }
    Failure::new(ErrorKind::Unavailable, format!("{address} did not answer in time; nothing was charged"))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind as Io;

    use super::*;

    #[test]
    fn what_the_server_says_decides_and_else_whether_it_was_asked() {
        let told = |words: &str| failure(Error::other(words.to_owned()), true).kind();
        assert_eq!(told("SERVER_ERROR out of memory storing object\r\n"), ErrorKind::Full);
        assert_eq!(told("SERVER_ERROR Out of memory allocating new item"), ErrorKind::Full);
        assert_eq!(told("CLIENT_ERROR unauthenticated"), ErrorKind::Denied);
        assert_eq!(told("ERROR\r\n"), ErrorKind::Other);
        for kind in [Io::UnexpectedEof, Io::ConnectionReset, Io::InvalidData, Io::Other] {
            assert_eq!(failure(kind.into(), true).kind(), ErrorKind::Timeout, "{kind:?}");
            assert_eq!(failure(kind.into(), false).kind(), ErrorKind::Unavailable, "{kind:?}");
        }
    }
}

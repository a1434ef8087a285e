//! The commands that the client of `memcache-async` supports. The others are in [`meta`](super::meta), with
//! the reason for each.
//!
//! The client gets a [`Wire`] for one command. So it reads no more than its answer, and sends each command in
//! one piece. The client accepts most first lines as success, so this module checks the first line itself.

use std::io::{self, Error, ErrorKind};

use memcache_async::ascii::Protocol;

use super::wire::{Stream, Wire};

/// A command and its answer.
///
/// If the server refuses a command, the error has the kind [`Other`](ErrorKind::Other) and the server's text.
pub(super) trait Command: Send + Sync {
    type Answer: Send;
    /// Whether the command may change stored items.
    const CHANGES: bool = true;

    /// Sends the command and reads its whole answer.
    fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> impl Future<Output = io::Result<Self::Answer>> + Send;
}

/// Reads an item: its bytes and its CAS version, which differs after each change.
pub(super) struct GetCommand<'a>(pub(super) &'a str);

/// Replaces an item whose CAS version is still `unique`, or adds one where there was none. Answers `false` if
/// the item has changed.
pub(super) struct StoreCommand<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) expiry: u32,
    /// The CAS version of the replaced item; `None` if there is none.
    pub(super) unique: Option<u64>,
}

/// Adds an item under a name that nobody else uses. This charges nobody, so it may be repeated.
pub(super) struct ProbeCommand<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: &'a [u8],
    /// Seconds until it expires.
    pub(super) expiry: u32,
}

/// Asks for the server's version, such as `1.6.18`. Sends the commands in `beside` behind that, and leaves
/// their answers unread.
pub(super) async fn version<T: Stream>(wire: &mut Wire<T>, beside: &str) -> io::Result<String> {
    wire.send_behind(beside.as_bytes());
    let reply = Protocol::new(&mut *wire).version().await;
    if reply.is_err() && wire.first_line().is_empty() {
        // A server that accepts no more connections sends that without a command, and may have closed this
        // one.
        let _ = wire.line().await;
    }
    match reply {
        Ok(version) if wire.is_answered_by(b"VERSION ") => Ok(version),
        Err(error) if wire.first_line().is_empty() || error.kind() == ErrorKind::UnexpectedEof => Err(error),
        _ => Err(unexpected(wire.first_line())),
    }
}

impl Command for GetCommand<'_> {
    type Answer = Option<(Vec<u8>, u64)>;
    const CHANGES: bool = false;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<Self::Answer> {
        match Protocol::new(&mut *wire).gets_cas(self.0).await {
            Ok(item) if wire.is_answered_by(["VALUE ", self.0, " "].concat().as_bytes()) => Ok(Some(item)),
            Err(error) if error.kind() == ErrorKind::NotFound && wire.is_answered_by(b"END\r\n") => Ok(None),
            Err(error) if wire.first_line().is_empty() || error.kind() == ErrorKind::UnexpectedEof => {
                Err(error)
            }
            _ => Err(unexpected(wire.first_line())),
        }
    }
}

impl Command for StoreCommand<'_> {
    type Answer = bool;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<bool> {
        let Self { name, bytes, expiry, unique } = *self;
        if let Some(unique) = unique {
            return match Protocol::new(&mut *wire).cas(name, bytes, unique, expiry).await {
                // The client does not know this answer, and returns the server's text as an error.
                Err(error) if error.kind() == ErrorKind::Other && says(&error, "NOT_FOUND") => Ok(false),
                replaced => replaced,
            };
        }
        add(wire, name, bytes, expiry).await
    }
}

impl Command for ProbeCommand<'_> {
    type Answer = ();
    const CHANGES: bool = false;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<()> {
        // An item of that name was added a moment ago, so the server can write.
        add(wire, self.name, self.bytes, self.expiry).await.map(|_| ())
    }
}

/// Adds an item where there is none. Returns `false` if there is one.
async fn add<T: Stream>(wire: &mut Wire<T>, name: &str, bytes: &[u8], expiry: u32) -> io::Result<bool> {
    match Protocol::new(&mut *wire).add(name, bytes, expiry).await {
        // The client reports success for any line that is not an error.
        Ok(()) if wire.is_answered_by(b"STORED\r\n") => Ok(true),
        Ok(()) => Err(unexpected(wire.first_line())),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns an error for a line that refuses a command, with the server's text, or for one that no server
/// sends.
pub(super) fn unexpected(line: &[u8]) -> Error {
    let words = String::from_utf8_lossy(line.trim_ascii_end()).into_owned();
    if ["ERROR", "CLIENT_ERROR", "SERVER_ERROR"].iter().any(|known| words.starts_with(known)) {
        return Error::other(words);
    }
    Error::new(
        ErrorKind::InvalidData,
        format!("the server sent an unexpected reply, {words:?}; check that it is a memcached"),
    )
}

/// Returns whether an error carries a text of the server that begins with `words`.
pub(super) fn says(error: &Error, words: &str) -> bool {
    error.get_ref().is_some_and(|cause| cause.to_string().starts_with(words))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_util::FutureExt;
    use futures_util::io::{AsyncRead, AsyncWrite, Cursor};

    use super::*;

    /// A server that has already sent all its answers, and accepts all bytes.
    struct ScriptedServer {
        answers: Cursor<&'static [u8]>,
        asked: Vec<u8>,
    }

    impl AsyncRead for ScriptedServer {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.answers).poll_read(context, into)
        }
    }

    impl AsyncWrite for ScriptedServer {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.asked.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn wire(answers: &'static str) -> Wire<ScriptedServer> {
        Wire::new(ScriptedServer { answers: Cursor::new(answers.as_bytes()), asked: Vec::new() })
    }

    /// Returns the answer or the kind of the error, and whether the connection has no bytes left.
    fn outcome<C: Command>(command: C, answers: &'static str) -> (Result<C::Answer, ErrorKind>, bool) {
        let mut wire = wire(answers);
        let outcome = command.ask(&mut wire).now_or_never().expect("all has been said");
        (outcome.map_err(|error| error.kind()), wire.is_quiet())
    }

    #[test]
    fn an_item_is_taken_for_what_it_is() {
        let found = (b"12".to_vec(), 7);
        assert_eq!(
            outcome(GetCommand("k"), "VALUE k 0 2 7\r\n12\r\nEND\r\n"),
            (Ok(Some(found.clone())), true)
        );
        assert_eq!(outcome(GetCommand("k"), "END\r\n"), (Ok(None), true));
        assert_eq!(
            outcome(GetCommand("k"), "END\r\nEND\r\n"),
            (Ok(None), false),
            "no such connection is used again"
        );
        for (answers, kind) in [
            ("VALUE other 0 2 7\r\n12\r\nEND\r\n", ErrorKind::InvalidData),
            ("VALUE k 0 2\r\n12\r\nEND\r\n", ErrorKind::InvalidData),
            ("ENDLESS\r\n", ErrorKind::InvalidData),
            ("VA 2 c7\r\n12\r\n", ErrorKind::InvalidData),
            ("SERVER_ERROR busy\r\n", ErrorKind::Other),
            ("VALUE k 0 2 7\r\n1", ErrorKind::UnexpectedEof),
            ("", ErrorKind::UnexpectedEof),
        ] {
            assert_eq!(outcome(GetCommand("k"), answers).0, Err(kind), "{answers:?}");
        }
    }

    /// The client allocates any length that it reads.
    #[test]
    fn an_item_that_no_server_keeps_is_no_answer() {
        for answers in
            ["VALUE k 0 18446744073709551615 7\r\n", "VALUE k 0 1048577 7\r\n", "VALUE k 0 x 7\r\n"]
        {
            assert_eq!(outcome(GetCommand("k"), answers).0, Err(ErrorKind::InvalidData), "{answers:?}");
        }
        let endless = |begins: &str, length| {
            let answer: &'static str = Box::leak([begins, &"x".repeat(length)].concat().into_boxed_str());
            outcome(GetCommand("k"), answer).0
        };
        assert_eq!(endless("", 100_000), Err(ErrorKind::InvalidData));
        assert_eq!(endless("VALUE k 0 2 7\r\n12", 1_100_000), Err(ErrorKind::InvalidData));
    }

    #[test]
    fn what_is_asked_beside_the_version_goes_out_with_it_and_is_left() {
        let mut wire = wire("VERSION 1.6.18\r\nEN\r\n");
        let outcome = version(&mut wire, "mg k v\r\n").now_or_never().unwrap();
        assert_eq!(outcome.unwrap(), "1.6.18");
        assert_eq!(wire.line().now_or_never().unwrap().unwrap(), b"EN");
        assert_eq!(wire.stream().asked, b"version\r\nmg k v\r\n");
    }

    #[test]
    fn a_server_that_is_none_is_told_by_its_words() {
        for (answer, words) in [
            (
                "VERSIONS\r\n",
                "the server sent an unexpected reply, \"VERSIONS\"; check that it is a memcached",
            ),
            (
                "HTTP/1.1 400 Bad Request\r\n",
                "the server sent an unexpected reply, \"HTTP/1.1 400 Bad Request\"; check that it is a memcached",
            ),
            ("ERROR Too many open connections\r\n", "ERROR Too many open connections"),
        ] {
            let outcome = version(&mut wire(answer), "").now_or_never().unwrap().unwrap_err();
            assert_eq!(outcome.to_string(), words);
        }
    }
}

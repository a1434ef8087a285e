//! A connection's bytes: surplus input stays for the next answer, and output goes out in one piece.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use futures_util::AsyncWriteExt;
use futures_util::io::{AsyncRead, AsyncWrite};

use crate::util::random::random;

/// The traits of a runtime's streams.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Bytes read at a time: more than the answer to a check.
const READ_BYTES: usize = 512;

/// The longest line that a server answers with, in bytes: a key, flags, an error.
const MAX_LINE_BYTES: usize = 2_048;

/// The longest item that is read, in bytes: servers keep no longer one by default.
pub(super) const MAX_ITEM_BYTES: u64 = 1 << 20;

/// A stream that records whether an answer has been read to its end.
///
/// The client of `memcache-async` reads ahead into a buffer that it drops. So the wire hands it at most one
/// line at a time, and bytes after its answer stay here. The client also allocates the length that a server
/// states for an item, and lines of any length. So the wire fails before either exceeds a server's own
/// limits.
pub(super) struct Wire<T> {
    stream: T,
    incoming: Vec<u8>,
    /// Bytes of `incoming` that have been taken.
    taken: usize,
    outgoing: Vec<u8>,
    /// Bytes of `outgoing` that have been sent.
    sent: usize,
    /// Bytes to send behind the next command.
    behind: Vec<u8>,
    /// Whether bytes of the present call were sent, so that the server may have acted.
    pub(super) is_sent: bool,
    /// The number of the attempt that made the connection.
    pub(super) attempt: u64,
    /// Whether it has not answered a call yet.
    pub(super) is_fresh: bool,
    /// The first line of the answer, as far as it has been taken.
    first: Vec<u8>,
    /// Bytes of the answer that the client of `memcache-async` has taken.
    handed: u64,
    /// The opaque number of the present call, by which its answer is recognised.
    pub(super) number: u32,
}

impl<T: Stream> Wire<T> {
    pub(super) const fn new(stream: T) -> Self {
        Self {
            stream,
            incoming: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            sent: 0,
            behind: Vec::new(),
            is_sent: false,
            attempt: 0,
            is_fresh: true,
            first: Vec::new(),
            handed: 0,
            number: 0,
        }
    }

    #[cfg(test)]
    pub(super) const fn stream(&self) -> &T {
        &self.stream
    }

    /// Starts a call.
    pub(super) fn begin(&mut self) {
        self.is_sent = false;
        self.first.clear();
        self.handed = 0;
        // A repeat after 2³² calls is harmless: no earlier answer is left on the connection.
        self.number = self.number.wrapping_add(1);
    }

    /// Returns whether the first line of the answer begins with `words`.
    pub(super) fn is_answered_by(&self, words: &[u8]) -> bool {
        self.first.starts_with(words)
    }

    /// Returns the first line of the answer, as far as it has been taken.
    pub(super) fn first_line(&self) -> &[u8] {
        &self.first
    }

    /// Queues bytes to be sent behind the next command, in one piece with it.
    pub(super) fn send_behind(&mut self, command: &[u8]) {
        self.behind.extend_from_slice(command);
    }

    /// Returns whether the first line, the item that it announces, or the whole answer exceeds what a server
    /// keeps.
    fn is_beyond_bounds(&self) -> bool {
        // An answer of the client's commands is an item and its two lines at most.
        if self.handed > MAX_ITEM_BYTES + 2 * MAX_LINE_BYTES as u64 {
            return true;
        }
        let announced = || self.first.strip_prefix(b"VALUE ")?.split(|byte| *byte == b' ').nth(2);
        if self.first.ends_with(b"\n") {
            announced().is_some_and(|length| number(length).is_none_or(|length| length > MAX_ITEM_BYTES))
        } else {
            self.first.len() > MAX_LINE_BYTES
        }
    }

    /// Returns whether all input has been taken and all output sent.
    pub(super) const fn is_quiet(&self) -> bool {
        self.taken == self.incoming.len() && self.outgoing.is_empty()
    }

    /// Returns whether the connection is open, and no bytes came without a command.
    pub(super) fn is_idle(&mut self) -> bool {
        let mut unasked = [0];
        // A poll without a waker: pending means open and silent; ready means bytes, an end or an error.
        let mut context = Context::from_waker(Waker::noop());
        self.is_quiet() && Pin::new(&mut self.stream).poll_read(&mut context, &mut unasked).is_pending()
    }

    /// Returns whether the whole present call has been sent.
    pub(super) const fn has_sent(&self) -> bool {
        self.is_sent && self.outgoing.is_empty()
    }

    /// Reads the rest of an abandoned answer: sends a command whose reply cannot be confused, and discards
    /// all before that reply.
    pub(super) async fn drain(&mut self) -> io::Result<()> {
        let mark = random();
        // The item does not exist, so the reply is `NF` with the random mark: no earlier answer can equal it.
        self.send(format!("md traffik#nothing O{mark}\r\n").as_bytes()).await?;
        let last = format!("NF O{mark}");
        while self.line().await? != last.as_bytes() {}
        Ok(())
    }

    /// Sends a command and returns the first line of its answer, without the line end.
    pub(super) async fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.send(command).await?;
        self.line().await
    }

    pub(super) async fn send(&mut self, command: &[u8]) -> io::Result<()> {
        self.write_all(command).await?;
        self.flush().await
    }

    /// Reads a line, without its end.
    pub(super) async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if line.len() > MAX_LINE_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the server sent a line without an end",
                ));
            }
            poll_fn(|context| self.poll_fill(context)).await?;
            let before = line.len();
            line.extend_from_slice(self.rest_of_line());
            if line.len() == before {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.take(line.len() - before);
        }
        line.truncate(line.trim_ascii_end().len());
        Ok(line)
    }

    /// Reads more input once all earlier input has been taken.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.taken < self.incoming.len() {
            return Poll::Ready(Ok(()));
        }
        // `incoming` is reused: it is full of taken bytes here, so nothing is lost by starting at 0.
        self.taken = 0;
        self.incoming.resize(READ_BYTES, 0);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut self.incoming);
        // After a pending or failed read, `incoming` must be empty, lest zeros pass for input.
        self.incoming.truncate(if let Poll::Ready(Ok(length)) = read { length } else { 0 });
        read.map_ok(drop)
    }

    /// Returns the input of the present line that has yet to be taken.
    fn rest_of_line(&self) -> &[u8] {
        let rest = self.incoming.get(self.taken..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        rest.get(..end).unwrap_or_default()
    }

    fn take(&mut self, length: usize) {
        let start = self.taken;
        self.taken += length;
        // `first` ends with the first line; later lines are not kept.
        if !self.first.ends_with(b"\n") {
            self.first.extend_from_slice(self.incoming.get(start..self.taken).unwrap_or_default());
        }
    }
}

/// Reads at most the rest of a line.
impl<T: Stream> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_fill(context))?;
        let length = self.rest_of_line().len().min(into.len());
        for (to, from) in into.iter_mut().zip(self.rest_of_line()) {
            *to = *from;
        }
        self.take(length);
        self.handed += length as u64;
        if self.is_beyond_bounds() {
            let words = "the server sent an item of more than 1 MiB";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, words)));
        }
        Poll::Ready(Ok(length))
    }
}

/// Buffers writes until they are flushed.
impl<T: Stream> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.outgoing.append(&mut this.behind);
        // `sent` survives a pending write, so a flush that is polled again continues where it stopped.
        while let Some(rest) = this.outgoing.get(this.sent..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut this.stream).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.is_sent = true;
            this.sent += written;
        }
        ready!(pin!(&mut this.stream).poll_flush(context))?;
        this.outgoing.clear();
        this.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

/// Parses a decimal number. The server pads a number that became shorter with spaces.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let digits = digits.trim_ascii_end();
    let number = digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        number.checked_mul(10)?.checked_add(digit.into()).filter(|_| digit < 10)
    });
    number.filter(|_| !digits.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_blanks_behind() {
        assert_eq!(
            [number(b"0"), number(b"12 "), number(b"18446744073709551615")],
            [Some(0), Some(12), Some(u64::MAX)]
        );
        for bad in [&b""[..], b" ", b" 1", b"x", b"1x", b"-1", b"18446744073709551616"] {
            assert_eq!(number(bad), None);
        }
    }
}

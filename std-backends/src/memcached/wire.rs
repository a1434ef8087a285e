//! A connection's bytes: what was read beyond the present answer is kept, what is written goes in one piece.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use futures_util::AsyncWriteExt;
use futures_util::io::{AsyncRead, AsyncWrite};

use crate::util::random::random;

/// What the streams of a runtime can do.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// How much is read at a time: more than the answer to a check.
const ROOM: usize = 512;

/// The longest line that a server answers with: a key, flags, an error.
const LONGEST: usize = 2_048;

/// The longest item that is read: a server keeps no longer one unless it is configured to.
pub(super) const LARGEST: u64 = 1 << 20;

/// A stream that knows whether it has been read to the end of an answer.
///
/// The client of `memcache-async` reads ahead into a buffer that is lost with it. It is handed no more than a
/// line at a time here, so that whatever comes after its answer stays where it is found. It also makes room
/// for as many bytes as a server says that an item has, and for a line of any length: neither reaches it here
/// if it is longer than a server's own limits.
pub(super) struct Wire<T> {
    stream: T,
    incoming: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
    outgoing: Vec<u8>,
    /// How much of it has been sent.
    sent: usize,
    /// Bytes to be sent with the next command, behind it.
    behind: Vec<u8>,
    /// Whether anything has been sent since the present call began, so that the server may have heard of it.
    pub(super) is_sent: bool,
    /// The attempt that made it.
    pub(super) attempt: u64,
    /// Whether it has answered no call yet.
    pub(super) is_fresh: bool,
    /// The first line of its answer, as far as that has been taken.
    first: Vec<u8>,
    /// How much of its answer the client of `memcache-async` has taken.
    handed: u64,
    /// What tells the answers of calls apart.
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

    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.is_sent = false;
        self.first.clear();
        self.handed = 0;
        self.number = self.number.wrapping_add(1);
    }

    /// Whether the first line of the answer begins like this.
    pub(super) fn is_answered_by(&self, words: &[u8]) -> bool {
        self.first.starts_with(words)
    }

    /// The first line of the answer, as far as that has been taken.
    pub(super) fn first_line(&self) -> &[u8] {
        &self.first
    }

    /// Sends this in one piece with the next command, behind it.
    pub(super) fn send_behind(&mut self, command: &[u8]) {
        self.behind.extend_from_slice(command);
    }

    /// Whether the first line goes on, or announces an item, beyond what a server keeps; or the whole of the
    /// answer goes on.
    fn is_beyond_bounds(&self) -> bool {
        if self.handed > LARGEST + 2 * LONGEST as u64 {
            return true;
        }
        let announced = || self.first.strip_prefix(b"VALUE ")?.split(|byte| *byte == b' ').nth(2);
        if self.first.ends_with(b"\n") {
            announced().is_some_and(|length| number(length).is_none_or(|length| length > LARGEST))
        } else {
            self.first.len() > LONGEST
        }
    }

    /// Whether all that came has been taken, and all that was written sent.
    pub(super) const fn is_quiet(&self) -> bool {
        self.taken == self.incoming.len() && self.outgoing.is_empty()
    }

    /// Whether the connection is open and nothing has come unasked.
    pub(super) fn is_idle(&mut self) -> bool {
        let mut unasked = [0];
        let mut context = Context::from_waker(Waker::noop());
        self.is_quiet() && Pin::new(&mut self.stream).poll_read(&mut context, &mut unasked).is_pending()
    }

    /// Whether all of the present call has been sent.
    pub(super) const fn has_sent(&self) -> bool {
        self.is_sent && self.outgoing.is_empty()
    }

    /// Takes what is left of an answer that nobody waits for: all that comes before the answer to a command
    /// which no other can be taken for.
    pub(super) async fn settle(&mut self) -> io::Result<()> {
        let mark = random();
        self.send(format!("md traffik#nothing O{mark}\r\n").as_bytes()).await?;
        let last = format!("NF O{mark}");
        while self.line().await? != last.as_bytes() {}
        Ok(())
    }

    /// Sends a command and takes the line that is answered, without its end.
    pub(super) async fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.send(command).await?;
        self.line().await
    }

    pub(super) async fn send(&mut self, command: &[u8]) -> io::Result<()> {
        self.write_all(command).await?;
        self.flush().await
    }

    /// Takes a line, without its end.
    pub(super) async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            if line.len() > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the server answers without an end"));
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

    /// Reads what has come, if all that came before has been taken.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.taken < self.incoming.len() {
            return Poll::Ready(Ok(()));
        }
        self.taken = 0;
        self.incoming.resize(ROOM, 0);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut self.incoming);
        self.incoming.truncate(if let Poll::Ready(Ok(length)) = read { length } else { 0 });
        read.map_ok(drop)
    }

    /// What has come of the present line and is to be taken.
    fn rest_of_line(&self) -> &[u8] {
        let rest = self.incoming.get(self.taken..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        rest.get(..end).unwrap_or_default()
    }

    fn take(&mut self, length: usize) {
        let start = self.taken;
        self.taken += length;
        if !self.first.ends_with(b"\n") {
            self.first.extend_from_slice(self.incoming.get(start..self.taken).unwrap_or_default());
        }
    }
}

/// No more than the rest of a line.
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
            let told = "the server answers with more than an item of 1 MiB";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, told)));
        }
        Poll::Ready(Ok(length))
    }
}

/// Sends what is written when it is flushed.
impl<T: Stream> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.outgoing.append(&mut this.behind);
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

/// A number in digits. The server leaves blanks behind one that became shorter.
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

//! A connection's bytes: what was read beyond the present answer is kept, what is written goes in one piece.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use futures_util::io::{AsyncRead, AsyncWrite};
use futures_util::{AsyncReadExt, AsyncWriteExt};

/// What the streams of a runtime can do.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// The longest line that a server answers with: a key, flags, an error.
const LONGEST: usize = 2_048;

/// A stream that knows whether it has been read to the end of an answer.
///
/// The client of `memcache-async` reads ahead into a buffer that is lost with it. It is handed no more than a line at a
/// time here, so that whatever comes after its answer stays where it is found.
pub(super) struct Wire<T> {
    stream: T,
    incoming: Vec<u8>,
    /// How much of it has been taken.
    taken: usize,
    outgoing: Vec<u8>,
    /// How much of it has been sent.
    sent: usize,
    /// Whether anything has been sent since the present call began.
    is_sent: bool,
    /// The first line of its answer, as far as that has been taken.
    first: Vec<u8>,
    /// What tells the answers of calls apart.
    number: u32,
}

impl<T: Stream> Wire<T> {
    pub(super) const fn new(stream: T) -> Self {
        Self {
            stream,
            incoming: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            sent: 0,
            is_sent: false,
            first: Vec::new(),
            number: 0,
        }
    }

    /// A call begins; tells its number.
    pub(super) fn begin(&mut self) -> u32 {
        self.is_sent = false;
        self.first.clear();
        self.number = self.number.wrapping_add(1);
        self.number
    }

    pub(super) const fn number(&self) -> u32 {
        self.number
    }

    /// Whether the server may have heard of the present call.
    pub(super) const fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Whether the first line of the answer begins like this.
    pub(super) fn is_answered_by(&self, words: &[u8]) -> bool {
        self.first.starts_with(words)
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

    /// Sends a command and takes the line that is answered, without its end.
    pub(super) async fn ask(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        self.write_all(command).await?;
        self.flush().await?;
        self.line().await
    }

    /// Takes a line, without its end.
    pub(super) async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let start = line.len();
            if start > LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the server answers without an end"));
            }
            line.resize(start + 128, 0);
            let read = self.read(line.get_mut(start..).unwrap_or_default()).await?;
            line.truncate(start + read);
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        line.truncate(line.trim_ascii_end().len());
        Ok(line)
    }
}

/// No more than the rest of a line.
impl<T: Stream> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.taken == this.incoming.len() {
            this.taken = 0;
            this.incoming.resize(4_096, 0);
            let read = Pin::new(&mut this.stream).poll_read(context, &mut this.incoming);
            let length = if let Poll::Ready(Ok(length)) = read { length } else { 0 };
            this.incoming.truncate(length);
            ready!(read)?;
        }
        let rest = this.incoming.get(this.taken..).unwrap_or_default();
        let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
        let length = line.min(into.len());
        for (to, from) in into.iter_mut().zip(rest).take(length) {
            *to = *from;
        }
        if !this.first.ends_with(b"\n") {
            this.first.extend_from_slice(rest.get(..length).unwrap_or_default());
        }
        this.taken += length;
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

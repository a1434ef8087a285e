//! A log of a connection's bytes, which shows whether any were sent since a call began.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use redis::io::tcp::TcpSettings;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The writes and reads of a connection, visible without its stream.
#[derive(Default)]
pub(super) struct WireLog {
    /// Writes that were begun, successful or not.
    writes: AtomicU64,
    /// Reads that had bytes.
    reads: AtomicU64,
    /// Whether the next write must first check whether the server has closed the connection.
    is_to_look: AtomicBool,
    is_closed: AtomicBool,
}

/// A number of writes at some time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Position(u64);

impl WireLog {
    /// Returns the present position, or the last one of a broken connection.
    pub(super) fn position(&self) -> Position {
        // Acquire pairs with Release in `count`: a position read after a failure has all writes before it.
        Position(self.writes.load(Ordering::Acquire))
    }

    pub(super) fn heard(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Makes the next write fail if the server has closed the connection, so that the write is not lost.
    pub(super) fn look_before_writing(&self) {
        // Relaxed: the flag guards no other data, and a write that misses it fails like any lost write.
        self.is_to_look.store(true, Ordering::Relaxed);
    }

    /// Returns whether the stream is gone: the server closed it, or its runtime has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

/// A stream of any runtime.
pub(super) trait NetStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Returns the operating system's handle of the stream.
    fn socket(&self) -> SockRef<'_>;

    /// Returns whether the server has closed the stream, as far as this host knows. Asks the operating
    /// system, since a busy runtime may not have noticed. Only the task that reads from the stream may call
    /// this.
    fn is_over(&mut self, _: &mut Context<'_>) -> bool {
        match self.socket().peek(&mut [MaybeUninit::uninit()]) {
            Ok(length) => length == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }
}

/// Applies a client's settings to a socket.
pub(super) fn set(socket: &SockRef<'_>, settings: &TcpSettings) -> io::Result<()> {
    socket.set_tcp_nodelay(settings.nodelay())?;
    if let Some(keepalive) = settings.keepalive() {
        socket.set_tcp_keepalive(keepalive)?;
    }
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    socket.set_tcp_user_timeout(settings.user_timeout())?;
    Ok(())
}

impl<T: NetStream + ?Sized> NetStream for Box<T> {
    fn socket(&self) -> SockRef<'_> {
        (**self).socket()
    }

    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        (**self).is_over(context)
    }
}

/// A stream whose reads and writes are counted.
pub(super) struct WatchedStream<T> {
    stream: T,
    wire: Arc<WireLog>,
}

impl<T> WatchedStream<T> {
    pub(super) fn new(stream: T) -> (Self, Arc<WireLog>) {
        let wire = Arc::new(WireLog::default());
        (Self { stream, wire: Arc::clone(&wire) }, wire)
    }
}

/// Adds 1. Only the owner of the stream counts, so no increment is lost.
fn count(number: &AtomicU64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
}

impl<T> Drop for WatchedStream<T> {
    fn drop(&mut self) {
        // The driver drops the stream when it ends, also with its runtime; links then replace the connection.
        self.wire.is_closed.store(true, Ordering::Relaxed);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        // An end of the stream has no bytes and is no sign of life.
        if into.filled().len() > before {
            count(&self.wire.reads);
        }
        read
    }
}

impl<T: NetStream> AsyncWrite for WatchedStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.wire.is_to_look.load(Ordering::Relaxed) {
            self.wire.is_to_look.store(false, Ordering::Relaxed);
            if self.stream.is_over(context) {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
        }
        // Counted before the write: even a write that fails may have sent bytes.
        count(&self.wire.writes);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A stream that takes bytes until its end is simulated.
    #[derive(Default)]
    struct Bytes(Vec<u8>, bool);

    impl AsyncRead for Bytes {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Bytes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl NetStream for Bytes {
        fn socket(&self) -> SockRef<'_> {
            unreachable!("a vector is no socket")
        }

        fn is_over(&mut self, _: &mut Context<'_>) -> bool {
            self.1
        }
    }

    fn write(stream: &mut WatchedStream<Bytes>) -> Result<usize, io::ErrorKind> {
        match Pin::new(stream).poll_write(&mut Context::from_waker(Waker::noop()), b"x") {
            Poll::Ready(written) => written.map_err(|error| error.kind()),
            Poll::Pending => unreachable!("a vector takes all"),
        }
    }

    #[test]
    fn writes_are_counted_and_the_end_is_seen() {
        let (mut stream, wire) = WatchedStream::new(Bytes::default());
        let idle = wire.position();
        assert_eq!(write(&mut stream), Ok(1));
        assert!(wire.position() != idle && !wire.is_closed());
        drop(stream);
        assert!(wire.is_closed());
    }

    #[test]
    fn a_connection_that_the_server_closed_is_not_written_to_when_it_was_looked_at() {
        let (mut stream, wire) = WatchedStream::new(Bytes::default());
        stream.stream.1 = true;
        assert_eq!(write(&mut stream), Ok(1), "nobody was to look");
        let before = wire.position();
        wire.look_before_writing();
        assert_eq!(write(&mut stream), Err(io::ErrorKind::BrokenPipe));
        assert!(wire.position() == before);
    }
}

//! The stream of a connection, which notes the bytes of the client, and ends for a client that is late.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::listener::activity::Activity;
use crate::listener::places::Place;

/// The response to a head that did not end in time.
const LATE: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A stream that notes what it reads.
pub(crate) struct NotedStream<S> {
    inner: S,
    activity: Arc<Activity>,
    /// Whether the client has been told that it was late.
    has_told: bool,
    /// Held by the stream, which lives longer than the HTTP connection if that is upgraded.
    _place: Place,
}

impl<S> NotedStream<S> {
    pub(crate) const fn new(inner: S, activity: Arc<Activity>, place: Place) -> Self {
        Self { inner, activity, has_told: false, _place: place }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for NotedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(context, buffer) {
            self.activity.read(buffer.filled().get(before..).unwrap_or_default());
            return Poll::Ready(read);
        }
        // Late clients are looked at last: what has come by now is a head in time.
        let Some(is_told) = self.activity.is_late() else { return Poll::Pending };
        if is_told && !self.has_told {
            // A client that cannot take even this at once gets nothing.
            let _ = Pin::new(&mut self.inner).poll_write(context, LATE);
            let _ = Pin::new(&mut self.inner).poll_flush(context);
        }
        // Nothing read is the end of the stream, which hyper asks for again and again.
        self.has_told = true;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for NotedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

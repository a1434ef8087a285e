//! The body of a response, which notes whether the client takes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::listener::activity::Exchange;

/// A body that is part of an exchange.
pub(crate) struct NotedBody<B> {
    inner: B,
    exchange: Exchange,
}

impl<B> NotedBody<B> {
    pub(crate) const fn new(inner: B, exchange: Exchange) -> Self {
        Self { inner, exchange }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for NotedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        // A part is asked for once the one before was taken.
        match polled {
            Poll::Ready(_) => self.exchange.gave(),
            Poll::Pending => self.exchange.was_taken(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

//! The throttle's own messages to the peer: never more than one at a time.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_sink::Sink;
use traffik_core::Strategy;

use super::WsThrottle;

impl<W, S: Strategy, M, T, E> WsThrottle<W, S, M, T>
where
    W: Sink<T, Error = E> + Unpin,
{
    /// Sends a message if the last one is flushed and the socket has room. Reports whether it was sent.
    pub(super) fn reply(&mut self, message: T, context: &mut Context<'_>) -> bool {
        if self.replies.is_flushing {
            return false;
        }
        let mut sink = Pin::new(&mut self.socket);
        let waker = self.wakers.reader(context.waker());
        let Poll::Ready(Ok(())) = sink.as_mut().poll_ready(&mut Context::from_waker(waker)) else {
            return false;
        };
        // A failure of the socket is left to the next read or write, which return it.
        let is_sent = sink.start_send(message).is_ok();
        self.replies.is_flushing = is_sent;
        self.flush(context);
        is_sent
    }

    /// Flushes the message that was sent.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) {
        if self.replies.is_flushing {
            let waker = self.wakers.reader(context.waker());
            let flushed = Pin::new(&mut self.socket).poll_flush(&mut Context::from_waker(waker));
            self.replies.is_flushing = flushed.is_pending();
        }
    }

    /// Flushes the answers of the socket itself, such as to a close.
    pub(super) fn flush_own(&mut self, context: &mut Context<'_>) {
        self.replies.is_flushing = true;
        self.flush(context);
    }
}

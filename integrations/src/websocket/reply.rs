//! What is sent to the peer by the throttle itself: seldom, and never more than one at a time.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_sink::Sink;
use traffik_core::Strategy;

use super::WsThrottle;

impl<W, S: Strategy, M, T, E> WsThrottle<W, S, M, T>
where
    W: Sink<T, Error = E> + Unpin,
{
    /// Sends something if the one before it has left and the socket has room, and tells whether it did.
    pub(super) fn reply(&mut self, message: T, context: &mut Context<'_>) -> bool {
        if self.replies.is_on_its_way {
            return false;
        }
        let mut sink = Pin::new(&mut self.socket);
        let waker = self.waiters.reader(context.waker());
        let Poll::Ready(Ok(())) = sink.as_mut().poll_ready(&mut Context::from_waker(waker)) else {
            return false;
        };
        // What is wrong with the socket is told to whoever reads or writes it.
        let is_sent = sink.start_send(message).is_ok();
        self.replies.is_on_its_way = is_sent;
        self.flush(context);
        is_sent
    }

    /// Sees to it that what was sent leaves.
    pub(super) fn flush(&mut self, context: &mut Context<'_>) {
        if self.replies.is_on_its_way {
            let waker = self.waiters.reader(context.waker());
            let flushed = Pin::new(&mut self.socket).poll_flush(&mut Context::from_waker(waker));
            self.replies.is_on_its_way = flushed.is_pending();
        }
    }

    /// Has what the socket answers by itself, such as a close, leave.
    pub(super) fn flush_own(&mut self, context: &mut Context<'_>) {
        self.replies.is_on_its_way = true;
        self.flush(context);
    }
}

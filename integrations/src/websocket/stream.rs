//! The stream of messages that pass.

use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use traffik_core::Strategy;
use traffik_core::storage::AsyncStorage;

use super::deny::MessageOutcome;
use super::{WsError, WsKind, WsMessage, WsThrottle};

/// The number of messages that may be dropped in one poll, before the task yields.
const MAX_DROPS_PER_POLL: u32 = 64;

/// One step of reading: an item to yield (`Break`), another step (`Continue`) or a wait.
type ReadStep<T, E> = Poll<ControlFlow<Option<Result<T, WsError<E>>>>>;

impl<W, S, M, T, E> Stream for WsThrottle<W, S, M, T>
where
    W: Stream<Item = Result<T, E>> + Sink<T, Error = E> + Unpin,
    S: Strategy,
    M: AsyncStorage<S> + 'static,
    T: WsMessage,
{
    type Item = Result<T, WsError<E>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        // Without a bound, a poll could drop messages for as long as the peer sends them. So it ends after
        // this number of steps, and wakes its task to be polled again.
        for _ in 0..MAX_DROPS_PER_POLL {
            this.flush(context);
            let step = if this.closing.is_some() { this.finish_closing(context) } else { this.step(context) };
            if let Break(item) = ready!(step) {
                if item.is_none() {
                    this.has_ended = true;
                    (this.held, this.next, this.closing) = (None, None, None);
                }
                return Poll::Ready(item);
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<W, S, M, T, E> FusedStream for WsThrottle<W, S, M, T>
where
    W: Stream<Item = Result<T, E>> + Sink<T, Error = E> + Unpin,
    S: Strategy,
    M: AsyncStorage<S> + 'static,
    T: WsMessage,
{
    fn is_terminated(&self) -> bool {
        self.has_ended
    }
}

impl<W, S, M, T, E> WsThrottle<W, S, M, T>
where
    W: Stream<Item = Result<T, E>> + Sink<T, Error = E> + Unpin,
    S: Strategy,
    M: AsyncStorage<S> + 'static,
    T: WsMessage,
{
    /// Polls the held message, then reads and decides on the next one.
    fn step(&mut self, context: &mut Context<'_>) -> ReadStep<T, E> {
        if let Some(held) = &mut self.held
            && let Poll::Ready(answer) = held.poll(&self.policy.sleep, context)
            && let Some(held) = self.held.take()
        {
            if self.patience.is_stopped() {
                self.patience.stop(false, (self.policy.now)());
            }
            let next = self.resume(held.check, held.wait.reason, answer, context);
            return Poll::Ready(follow(next));
        }
        // Invariant: `next` is read only while `held` waits, so at most two messages are here, in their
        // order.
        let message = match self.next.take_if(|_| self.held.is_none()) {
            Some(message) => message,
            None if self.next.is_some() => return Poll::Pending,
            None => match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(message)) => message,
                None => return Poll::Ready(Break(None)),
                // The connection has failed, so a message that waits is dropped.
                Some(Err(error)) => {
                    self.held = None;
                    return Poll::Ready(Break(Some(Err(WsError::Socket(error)))));
                }
            },
        };
        let kind = message.kind();
        Poll::Ready(match kind {
            WsKind::Control => Break(Some(Ok(message))),
            WsKind::Close | WsKind::Data if self.held.is_some() => {
                self.next = Some(message);
                self.stop_reading();
                if kind == WsKind::Close {
                    // The peer gets the answer to its close now, not when the reader gets to it.
                    self.flush_own(context);
                }
                Continue(())
            }
            WsKind::Close => Break(Some(Ok(message))),
            WsKind::Data => follow(self.decide(message, context)),
        })
    }

    /// Closes the connection: sends the close frame, and waits for the peer's. Drops the messages before
    /// that.
    fn finish_closing(&mut self, context: &mut Context<'_>) -> ReadStep<T, E> {
        (self.held, self.next) = (None, None);
        let Some(closing) = &mut self.closing else { return Poll::Ready(Break(None)) };
        if closing.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Break(None));
        }
        while !self.replies.is_flushing {
            let Some(closing) = &mut self.closing else { break };
            let next = if closing.last.is_some() { &mut closing.last } else { &mut closing.message };
            if next.is_none() {
                break;
            }
            let waker = self.wakers.reader(context.waker());
            let mut sink = Pin::new(&mut self.socket);
            match sink.as_mut().poll_ready(&mut Context::from_waker(waker)) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return Poll::Ready(Break(None)),
                Poll::Ready(Ok(())) => {
                    if next.take().is_some_and(|message| sink.start_send(message).is_err()) {
                        return Poll::Ready(Break(None));
                    }
                    self.flush_own(context);
                }
            }
        }
        match ready!(Pin::new(&mut self.socket).poll_next(context)) {
            Some(Ok(message)) if message.kind() == WsKind::Close => Poll::Ready(Break(Some(Ok(message)))),
            Some(Ok(_)) => Poll::Ready(Continue(())),
            // The connection is being closed, so an error of the socket does not concern the reader.
            Some(Err(_)) | None => Poll::Ready(Break(None)),
        }
    }
}

/// Returns the step that follows from the outcome of a message.
fn follow<T, E>(next: MessageOutcome<T, E>) -> ControlFlow<Option<Result<T, WsError<E>>>> {
    match next {
        MessageOutcome::Pass(message) => Break(Some(Ok(message))),
        MessageOutcome::Raise(error) => Break(Some(Err(error))),
        MessageOutcome::Drop | MessageOutcome::Wait => Continue(()),
    }
}

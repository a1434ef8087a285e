//! What is read: messages that pass, one after another.

use std::ops::ControlFlow::{self, Break, Continue};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use futures_sink::Sink;
use traffik_core::Strategy;
use traffik_core::storage::AsyncStorage;

use super::deny::Next;
use super::{WsError, WsKind, WsMessage, WsThrottle};

/// How many messages are dropped before others get their turn.
const AT_ONCE: u32 = 64;

/// What the reader gets, or nothing yet.
type Action<T, E> = Poll<ControlFlow<Option<Result<T, WsError<E>>>>>;

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
        for _ in 0..AT_ONCE {
            this.flush(context);
            let step = if this.closing.is_some() { this.farewell(context) } else { this.step(context) };
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
    /// Sees to the message that waits, then to the one after it.
    fn step(&mut self, context: &mut Context<'_>) -> Action<T, E> {
        if let Some(held) = &mut self.held
            && let Poll::Ready(answer) = held.poll(&self.policy.sleep, context)
            && let Some(held) = self.held.take()
        {
            if self.patience.is_stopped() {
                self.patience.stop(false, (self.policy.now)());
            }
            let next = self.resume(held.asked, held.wait.for_what, answer, context);
            return Poll::Ready(follow(next));
        }
        let message = match self.next.take_if(|_| self.held.is_none()) {
            Some(message) => message,
            None if self.next.is_some() => return Poll::Pending,
            None => match ready!(Pin::new(&mut self.socket).poll_next(context)) {
                Some(Ok(message)) => message,
                None => return Poll::Ready(Break(None)),
                // Nobody is there any more for whom something could wait.
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
                    // The peer does not wait for its answer until the reader sees this.
                    self.flush_own(context);
                }
                Continue(())
            }
            WsKind::Close => Break(Some(Ok(message))),
            WsKind::Data => follow(self.decide(message, context)),
        })
    }

    /// Closes the connection: says so, and waits until the peer agrees. What it sent before it knew is dropped.
    fn farewell(&mut self, context: &mut Context<'_>) -> Action<T, E> {
        (self.held, self.next) = (None, None);
        let Some(closing) = &mut self.closing else { return Poll::Ready(Break(None)) };
        if closing.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Break(None));
        }
        while !self.replies.is_on_its_way {
            let Some(closing) = &mut self.closing else { break };
            let next = if closing.last.is_some() { &mut closing.last } else { &mut closing.message };
            if next.is_none() {
                break;
            }
            let waker = self.waiters.reader(context.waker());
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
            // However a peer goes that was told to, it is gone.
            Some(Err(_)) | None => Poll::Ready(Break(None)),
        }
    }
}

fn follow<T, E>(next: Next<T, E>) -> ControlFlow<Option<Result<T, WsError<E>>>> {
    match next {
        Next::Pass(message) => Break(Some(Ok(message))),
        Next::Raise(error) => Break(Some(Err(error))),
        Next::Drop | Next::Wait => Continue(()),
    }
}

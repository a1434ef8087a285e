//! What is sent goes through as it is; only who waits for the socket is seen to.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_sink::Sink;
use traffik_core::Strategy;

use super::{WsError, WsThrottle};

/// A socket wakes only the one who polled its sink last. Here that can be the reader, whose throttle has something to send,
/// while the other half of the socket waits to send, too. So it is told to wake both.
pub(super) struct Waiters {
    both: Arc<Both>,
    waker: Waker,
}

#[derive(Default)]
struct Both(Mutex<[Option<Waker>; 2]>);

impl Waiters {
    /// Whom to wake when the reader waits for the sink.
    pub(super) fn reader(&self, waker: &Waker) -> &Waker {
        self.note(0, waker)
    }

    /// Whom to wake when the writer does.
    pub(super) fn writer(&self, waker: &Waker) -> &Waker {
        self.note(1, waker)
    }

    fn note(&self, place: usize, waker: &Waker) -> &Waker {
        let mut both = self.both.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = both.get_mut(place)
            && !place.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            let before = place.replace(waker.clone());
            drop(both);
            // To drop a waker can drop a task, and with it whatever it holds.
            drop(before);
        }
        &self.waker
    }
}

impl Default for Waiters {
    fn default() -> Self {
        let both = Arc::<Both>::default();
        Self { waker: Waker::from(Arc::clone(&both)), both }
    }
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiters")
    }
}

impl<W, S: Strategy, M, T, E> Sink<T> for WsThrottle<W, S, M, T>
where
    W: Sink<T, Error = E> + Unpin,
{
    type Error = WsError<E>;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), WsError<E>>> {
        let Self { socket, waiters, .. } = &mut *self;
        let waker = waiters.writer(context.waker());
        Pin::new(socket).poll_ready(&mut Context::from_waker(waker)).map_err(WsError::Socket)
    }

    fn start_send(mut self: Pin<&mut Self>, message: T) -> Result<(), WsError<E>> {
        Pin::new(&mut self.socket).start_send(message).map_err(WsError::Socket)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), WsError<E>>> {
        let Self { socket, waiters, .. } = &mut *self;
        let waker = waiters.writer(context.waker());
        Pin::new(socket).poll_flush(&mut Context::from_waker(waker)).map_err(WsError::Socket)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), WsError<E>>> {
        let Self { socket, waiters, .. } = &mut *self;
        let waker = waiters.writer(context.waker());
        Pin::new(socket).poll_close(&mut Context::from_waker(waker)).map_err(WsError::Socket)
    }
}

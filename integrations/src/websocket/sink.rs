//! The sink: messages to the peer pass unchanged. It only registers the writer's waker.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_sink::Sink;
use traffik_core::Strategy;

use super::{WsError, WsThrottle};

impl<W, S: Strategy, M, T, E> Sink<T> for WsThrottle<W, S, M, T>
where
    W: Sink<T, Error = E> + Unpin,
{
    type Error = WsError<E>;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), WsError<E>>> {
        let Self { socket, wakers, .. } = &mut *self;
        let waker = wakers.writer(context.waker());
        Pin::new(socket).poll_ready(&mut Context::from_waker(waker)).map_err(WsError::Socket)
    }

    fn start_send(mut self: Pin<&mut Self>, message: T) -> Result<(), WsError<E>> {
        Pin::new(&mut self.socket).start_send(message).map_err(WsError::Socket)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), WsError<E>>> {
        let Self { socket, wakers, .. } = &mut *self;
        let waker = wakers.writer(context.waker());
        Pin::new(socket).poll_flush(&mut Context::from_waker(waker)).map_err(WsError::Socket)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), WsError<E>>> {
        let Self { socket, wakers, .. } = &mut *self;
        let waker = wakers.writer(context.waker());
        Pin::new(socket).poll_close(&mut Context::from_waker(waker)).map_err(WsError::Socket)
    }
}

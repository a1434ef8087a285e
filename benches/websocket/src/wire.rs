//! A socket out of which the same message comes so many times, which costs next to nothing itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use traffik_backends::Memory;
use traffik_core::storage::Local;
use traffik_core::{Rate, TokenBucket};
use traffik_integrations::{ClientKey, Throttle, WsPolicy, WsThrottle};
use traffik_runtimes::Tokio;

/// The socket, with the number of messages that are still to come.
#[derive(Debug)]
pub struct Wire(pub u64);

impl Stream for Wire {
    type Item = Result<Message, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.checked_sub(1).map(|left| {
            self.0 = left;
            Ok(Message::Binary(Bytes::from_static(b"sixteen bytes...")))
        }))
    }
}

impl Sink<Message> for Wire {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, _: Message) -> Result<(), Infallible> {
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

/// A socket that is limited by itself.
type Limited<W> = WsThrottle<W, TokenBucket, Local<Memory<TokenBucket>>, Message>;

/// Limits sockets, each by itself, and admits everything.
pub fn limiting<W, E>() -> impl Fn(W) -> Limited<W>
where
    W: Stream<Item = Result<Message, E>>,
{
    let throttle = Throttle::in_memory("messages", TokenBucket::new(Rate::per_second(4_000_000_000)));
    let throttle = throttle.build().expect("a plain name");
    let policy = Arc::new(WsPolicy::new(Tokio));
    move |socket| WsThrottle::new(socket, throttle.client_for(ClientKey::connection()), policy.clone())
}

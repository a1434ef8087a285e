//! Reading a socket to its end and sending everything back, as an echo does.

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::{Sink, Stream};
use tokio_tungstenite::tungstenite::Message;
use traffik_bench_support::Counted;

/// [`echoed`], whose instructions are counted.
pub const ECHOED: Counted = Counted(concat!(module_path!(), "::echoed"));

/// Echoes until the socket ends.
#[inline(never)]
pub fn echoed<W, E>(mut socket: W)
where
    W: Stream<Item = Result<Message, E>> + Sink<Message> + Unpin,
{
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match Pin::new(&mut socket).poll_next(&mut context) {
            Poll::Ready(Some(Ok(message))) => {
                let mut sink = Pin::new(&mut socket);
                let ready = sink.as_mut().poll_ready(&mut context).is_ready();
                assert!(ready && sink.as_mut().start_send(black_box(message)).is_ok());
                assert!(sink.poll_flush(&mut context).is_ready());
            }
            Poll::Ready(_) => return,
            Poll::Pending => {}
        }
    }
}

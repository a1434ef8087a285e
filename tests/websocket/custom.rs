//! Another implementation of the protocol, as small as one can be; and what a throttle takes for itself.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use futures_util::{Sink, Stream, StreamExt};
use traffik::runtime::Manual;
use traffik::web::{ClientKey, Throttle, WsKind, WsMessage, WsPolicy, WsThrottle};
use traffik::{FixedWindow, TokenBucket, rate};

use super::wire::memory;

#[derive(Clone, Debug, PartialEq)]
enum Frame {
    Word(&'static str),
    Beat,
    Told(String),
    End(u16),
}

impl WsMessage for Frame {
    fn kind(&self) -> WsKind {
        match self {
            Self::Word(_) | Self::Told(_) => WsKind::Data,
            Self::Beat => WsKind::Control,
            Self::End(_) => WsKind::Close,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Word(word) => word.len(),
            _ => 0,
        }
    }

    fn text(text: String) -> Self {
        Self::Told(text)
    }

    fn close(code: u16, _: String) -> Self {
        Self::End(code)
    }
}

/// A socket out of which these come.
#[derive(Default)]
struct Wire {
    coming: VecDeque<Frame>,
    sent: Vec<Frame>,
}

impl Stream for Wire {
    type Item = Result<Frame, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.coming.pop_front().map(Ok))
    }
}

impl Sink<Frame> for Wire {
    type Error = Infallible;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, frame: Frame) -> Result<(), Infallible> {
        self.sent.push(frame);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn another_implementation_can_be_plugged_in() {
    let runtime = Manual::new();
    let throttle =
        Throttle::builder("words", FixedWindow::new(rate!("8/m")), memory(&runtime)).build().unwrap();
    let coming =
        [Frame::Word("four"), Frame::Word("five!"), Frame::Beat, Frame::Word("six."), Frame::End(1000)];
    let wire = Wire { coming: coming.into(), sent: Vec::new() };
    let policy = WsPolicy::new(runtime.clone()).by_bytes();
    let mut words = WsThrottle::new(wire, throttle.client_for(ClientKey::connection()), policy);
    let read: Vec<_> = runtime.run((&mut words).map(Result::unwrap).collect()).unwrap();
    assert_eq!(read, [Frame::Word("four"), Frame::Beat, Frame::Word("six."), Frame::End(1000)]);
    assert!(matches!(words.into_inner().sent.as_slice(), [Frame::Told(_)]));
}

/// Neither a message that is admitted nor one that is dropped after the peer was told.
#[test]
fn nothing_is_allocated_for_a_message() {
    const MESSAGES: usize = 10_000;
    for (rate, passing) in [(rate!("4000000000/s"), MESSAGES), (rate!("10/w"), 10)] {
        let runtime = Manual::new();
        let throttle = Throttle::builder("words", TokenBucket::new(rate), memory(&runtime)).build().unwrap();
        let wire = Wire { coming: vec![Frame::Word("x"); MESSAGES].into(), sent: Vec::with_capacity(1) };
        let client = throttle.client_for(ClientKey::connection());
        let mut words = WsThrottle::new(wire, client, WsPolicy::new(runtime.clone()));
        let mut context = Context::from_waker(Waker::noop());
        let mut passed = 0;
        let mut read = |at_most: usize| {
            for _ in 0..at_most {
                match words.poll_next_unpin(&mut context) {
                    Poll::Ready(Some(_)) => passed += 1,
                    Poll::Ready(None) => break,
                    Poll::Pending => {}
                }
            }
        };
        // The first few, and the notice.
        read(20);
        let counted = measure(|| read(MESSAGES));
        assert_eq!((counted.count_total, passed), (0, passing));
    }
}

/// Beside the socket: the client, a place for two messages, and what else is known of a connection.
#[test]
fn a_connection_takes_less_than_a_kibibyte() {
    let runtime = Manual::new();
    let throttle =
        Throttle::builder("words", TokenBucket::new(rate!("1/s")), memory(&runtime)).build().unwrap();
    let policy = std::sync::Arc::new(WsPolicy::<u32, Frame>::new(runtime.clone()));
    let mut connections = Vec::with_capacity(100);
    let counted = measure(|| {
        for _ in 0..100 {
            let client = throttle.client_for(ClientKey::connection());
            connections.push(WsThrottle::new(Wire::default(), client, policy.clone()));
        }
    });
    let itself = size_of_val(&connections[0]) - size_of::<Wire>();
    let all = itself + counted.bytes_current as usize / 100;
    assert!(all <= 1_024, "{all} bytes, {itself} of them in place");
}

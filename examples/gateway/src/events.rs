//! Server-sent events: what has happened is told to all who listen, and what happened before to whoever comes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};

/// How many samples are kept: one a second, for five minutes.
const KEPT: usize = 300;

/// What is told, a line each.
#[derive(Default)]
pub(crate) struct Events(Mutex<Told>);

#[derive(Default)]
struct Told {
    samples: VecDeque<Arc<str>>,
    /// How many there were in all.
    number: u64,
    stopped: bool,
    waiting: Vec<Waker>,
}

impl Events {
    /// Tells all who listen.
    pub(crate) fn tick(&self, sample: String) {
        let mut told = self.lock();
        if told.samples.len() == KEPT {
            told.samples.pop_front();
        }
        told.samples.push_back(sample.into());
        told.number += 1;
        told.waiting.drain(..).for_each(Waker::wake);
    }

    /// Ends all streams.
    pub(crate) fn stop(&self) {
        let mut told = self.lock();
        told.stopped = true;
        told.waiting.drain(..).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        // Nothing is left half done under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream of events, from those that are kept on.
pub(crate) struct Stream {
    pub(crate) events: Arc<Events>,
    /// How many it has told of.
    pub(crate) seen: u64,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let events = Arc::clone(&self.events);
        let mut told = events.lock();
        if told.stopped {
            return Poll::Ready(None);
        }
        if told.number == self.seen {
            told.waiting.push(context.waker().clone());
            return Poll::Pending;
        }
        // Whoever is slow is told all it has missed at once, as far as it is kept.
        let missed = usize::try_from(told.number - self.seen).unwrap_or(KEPT);
        let new = told.samples.iter().skip(told.samples.len().saturating_sub(missed));
        let frames: String = new.map(|sample| format!("data: {sample}\n\n")).collect();
        self.seen = told.number;
        Poll::Ready(Some(Ok(Frame::data(frames.into()))))
    }
}

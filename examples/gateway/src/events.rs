//! Server-sent events: what has happened is told to all who listen, and what happened before to whoever
//! comes.

use std::collections::VecDeque;

use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch::Sender;

use crate::response::Body;

/// How many samples are kept: one a second, for five minutes.
const KEPT: usize = 300;

/// What is told, a line each.
#[derive(Default)]
pub(crate) struct Events(Sender<SampleLog>);

#[derive(Default)]
struct SampleLog {
    samples: VecDeque<String>,
    /// How many there were in all.
    number: u64,
    stopped: bool,
}

impl Events {
    /// Tells all who listen.
    pub(crate) fn tick(&self, sample: String) {
        self.0.send_modify(|told| {
            if told.samples.len() == KEPT {
                told.samples.pop_front();
            }
            told.samples.push_back(sample);
            told.number += 1;
        });
    }

    /// Ends all streams.
    pub(crate) fn stop(&self) {
        self.0.send_modify(|told| told.stopped = true);
    }

    /// A stream of events, from those that are kept on.
    pub(crate) fn stream(&self) -> Body {
        let frames = unfold((self.0.subscribe(), 0), |(mut events, seen)| async move {
            let told = events.wait_for(|told| told.stopped || told.number != seen).await.ok()?;
            if told.stopped {
                return None;
            }
            // Whoever is slow is told all it has missed at once, as far as it is kept.
            let missed = usize::try_from(told.number - seen).unwrap_or(KEPT);
            let new = told.samples.iter().skip(told.samples.len().saturating_sub(missed));
            let frames: String = new.map(|sample| format!("data: {sample}\n\n")).collect();
            let seen = told.number;
            drop(told);
            Some((Ok(Frame::data(frames.into())), (events, seen)))
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

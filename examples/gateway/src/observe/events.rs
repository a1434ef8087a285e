//! The server-sent events of the live page: every stream gets the samples of the last five minutes, then each
//! new one.

use std::collections::VecDeque;

use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch::Sender;

use crate::response::Body;

/// Number of samples kept: one a second for five minutes.
const KEPT: usize = 300;

/// The samples, published to all open streams.
#[derive(Default)]
pub(crate) struct Events(Sender<SampleLog>);

/// The last samples, oldest first, of one line each.
#[derive(Default)]
struct SampleLog {
    samples: VecDeque<String>,
    /// Number of all samples so far. A stream has missed `number - seen` of them.
    number: u64,
    stopped: bool,
}

impl Events {
    /// Publishes a sample to all open streams.
    pub(crate) fn tick(&self, sample: String) {
        self.0.send_modify(|log| {
            if log.samples.len() == KEPT {
                log.samples.pop_front();
            }
            log.samples.push_back(sample);
            log.number += 1;
        });
    }

    /// Ends all streams.
    pub(crate) fn stop(&self) {
        self.0.send_modify(|log| log.stopped = true);
    }

    /// Returns a stream of events that begins with the samples kept. It waits for the next sample, until
    /// `stop`.
    pub(crate) fn stream(&self) -> Body {
        let frames = unfold((self.0.subscribe(), 0), |(mut events, seen)| async move {
            // `log` holds the channel's read lock, so no sample comes in while the frames are written.
            let log = events.wait_for(|log| log.stopped || log.number != seen).await.ok()?;
            if log.stopped {
                return None;
            }
            // A slow client gets all samples that it missed and that are kept, in one frame.
            let missed = usize::try_from(log.number - seen).unwrap_or(KEPT);
            let new = log.samples.iter().skip(log.samples.len().saturating_sub(missed));
            let frames: String = new.map(|sample| format!("data: {sample}\n\n")).collect();
            let seen = log.number;
            drop(log);
            Some((Ok(Frame::data(frames.into())), (events, seen)))
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

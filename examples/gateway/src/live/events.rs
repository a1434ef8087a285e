//! The server-sent events of the live page: every stream gets the last hour, then a sample each second.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::watch::Sender;
use traffik::web::Tally;

use crate::live::hour::{Hour, TICKS};
use crate::response::Body;
use crate::stores::store::SharedStore;
use crate::throttles::pipeline::Pipeline;

/// The hour and the last sample, published to all open streams.
#[derive(Default)]
pub(crate) struct Events(Sender<Live>);

/// The state of the live page.
#[derive(Default)]
struct Live {
    hour: Hour,
    /// The last sample, one line.
    sample: String,
    /// The number of the last sample, from 1.
    number: u64,
    stopped: bool,
}

impl Events {
    /// Takes a sample and publishes it to all open streams. Samples name no clients, since a browser cannot
    /// send a token with its request for events.
    pub(crate) fn tick(&self, pipeline: &Pipeline, tally: &Tally) {
        pipeline.stores.iter().for_each(|store| store.tally_corrupt(tally));
        // `tally_corrupt` first: the errors include the corrupt values that the stores have found.
        let errors: Value = tally.errors().filter(|(_, count)| *count > 0).collect();
        let stores: Vec<_> = pipeline.stores.iter().map(SharedStore::json).collect();
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        self.0.send_modify(|live| {
            live.number += 1;
            live.hour.tick(live.number, &pipeline.controls, tally);
            let sample = json!({
                "at": seconds,
                "number": live.number,
                "throttles": live.hour.sample(live.number),
                "others": live.hour.others(),
                "errors": errors,
                "stores": stores,
            });
            live.sample = sample.to_string();
        });
    }

    /// Ends all streams.
    pub(crate) fn stop(&self) {
        self.0.send_modify(|live| live.stopped = true);
    }

    /// Returns a stream of events that begins with the hour. It waits for the next sample, until `stop`.
    pub(crate) fn stream(&self) -> Body {
        let frames = unfold((self.0.subscribe(), 0), |(mut events, seen)| async move {
            // `live` holds the channel's read lock, so no sample comes in while the frame is written.
            let live = events.wait_for(|live| live.stopped || live.number != seen).await.ok()?;
            if live.stopped {
                return None;
            }
            // A slow client misses samples. Only if one of them ended a point does it need the hour again.
            let is_behind = seen == 0 || (live.number - 1) / TICKS > seen / TICKS;
            let hour = is_behind.then(|| format!("event: hour\ndata: {}\n\n", live.hour.json(live.number)));
            let frame = format!("{}data: {}\n\n", hour.unwrap_or_default(), live.sample);
            let seen = live.number;
            drop(live);
            Some((Ok(Frame::data(frame.into())), (events, seen)))
        });
        StreamBody::new(frames).boxed_unsync()
    }
}

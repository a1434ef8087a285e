//! Telling the `metrics` facade.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use metrics::{Counter, Histogram, counter, histogram};

use super::{Event, Observe, Seen};

/// Tells the recorder of the `metrics` crate: `traffik_requests_total` by `throttle` and `result`,
/// `traffik_check_seconds` by `throttle`, and `traffik_store_errors_total` by `kind`. A key is never a label.
///
/// Install the recorder before the first request: what was there then is what is told.
#[derive(Clone, Default)]
pub struct Metrics(Arc<RwLock<HashMap<String, Handles>>>);

/// Where the figures of a throttle go, looked up once.
#[derive(Clone)]
struct Handles {
    results: [Counter; Seen::ALL.len()],
    took: Histogram,
}

impl Handles {
    fn of(throttle: &str) -> Self {
        let result = |result: Seen| counter!("traffik_requests_total", "throttle" => throttle.to_owned(), "result" => result.name());
        let took = histogram!("traffik_check_seconds", "throttle" => throttle.to_owned());
        Self { results: Seen::ALL.map(result), took }
    }

    fn tell(&self, event: &Event<'_>) {
        if let Some(counter) = self.results.get(event.result as usize) {
            counter.increment(1);
        }
        if let Some(took) = event.took {
            self.took.record(took);
        }
    }
}

impl Observe for Metrics {
    fn seen(&self, event: &Event<'_>) {
        if let Some(kind) = event.failure_kind() {
            counter!("traffik_store_errors_total", "kind" => kind).increment(1);
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = known.get(event.throttle) {
            return handles.tell(event);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(event.throttle.to_owned()).or_insert_with(|| Handles::of(event.throttle)).tell(event);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

//! Telling `tracing`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{Event, Observe, Seen};

/// Writes of denials and failures, at most one line of each a second and throttle, with how many there were: a line for
/// every denial would be a gift to whoever provokes them.
#[derive(Clone, Default)]
pub struct Traces(Arc<Mutex<HashMap<(String, bool), Unwritten>>>);

/// What was not written of yet.
#[derive(Default)]
struct Unwritten {
    last: Option<Instant>,
    events: u64,
}

const PAUSE: Duration = Duration::from_secs(1);

impl Unwritten {
    /// How many events a line is to tell of, if it is time for one.
    fn due(&mut self, now: Instant) -> Option<u64> {
        self.events += 1;
        if self.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.events))
    }
}

impl Observe for Traces {
    fn seen(&self, event: &Event<'_>) {
        let failed = match event.result {
            Seen::Failed => true,
            Seen::Denied | Seen::Never | Seen::WouldDeny => false,
            _ => return,
        };
        let mut unwritten = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (event.throttle.to_owned(), failed);
        let Some(requests) = unwritten.entry(key).or_default().due(Instant::now()) else { return };
        drop(unwritten);
        let (throttle, result) = (event.throttle, event.result.name());
        match event.failure {
            Some(failure) => {
                let kind = event.failure_kind();
                warn!(throttle, requests, kind, %failure, "requests could not be decided upon");
            }
            None => info!(throttle, requests, last = result, "requests were denied"),
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traces")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_denials_is_one_line_a_second() {
        let (mut unwritten, began) = (Unwritten::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        assert_eq!(unwritten.due(at(0)), Some(1));
        assert!((1..1000).all(|millis| unwritten.due(at(millis)).is_none()));
        assert_eq!(unwritten.due(at(1000)), Some(1000));
    }
}

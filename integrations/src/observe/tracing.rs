//! Telling `tracing`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};
use traffik_core::Origin;

use super::{Event, Observe, RequestOutcome};

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
            RequestOutcome::Failed => true,
            RequestOutcome::Denied | RequestOutcome::Never | RequestOutcome::WouldDeny => false,
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
                let source = event.origin.map(Origin::name);
                warn!(throttle, requests, kind, %failure, source, "requests could not be decided upon");
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
    use std::fmt::Write;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::subscriber::with_default;
    use tracing::{Metadata, Subscriber};
    use traffik_core::{Gcra, Rate};

    use super::*;
    use crate::{Admission, PeerAddress, Throttle};

    /// Keeps the lines that are written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            write!(self.0, "{field}={value:?} ").unwrap();
        }
    }

    impl Subscriber for Written {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = Line(format!("{} ", event.metadata().level()));
            event.record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// Ten thousand denials: a line for the first, and no more than one for each second that they take.
    #[test]
    fn there_is_no_line_for_each_denial() {
        let (written, began) = (Written::default(), Instant::now());
        with_default(written.clone(), || {
            let throttle = Throttle::in_memory("api", Gcra::new(Rate::per_hour(1)));
            let throttle = throttle.observe(Traces::default()).build().unwrap();
            let mut request = http::Request::new(());
            request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 1).into()));
            for _ in 0..10_001 {
                let _ = throttle.enter((&request).into());
            }
        });
        let lines = written.0.lock().unwrap();
        assert!((1..=began.elapsed().as_secs() as usize + 1).contains(&lines.len()), "{lines:?}");
        assert_eq!(
            lines[0],
            "INFO message=requests were denied throttle=\"api\" requests=1 last=\"denied\" "
        );
    }

    #[test]
    fn a_flood_of_denials_is_one_line_a_second() {
        let (mut unwritten, began) = (Unwritten::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        assert_eq!(unwritten.due(at(0)), Some(1));
        assert!((1..1000).all(|millis| unwritten.due(at(millis)).is_none()));
        assert_eq!(unwritten.due(at(1000)), Some(1000));
    }
}

//! The observer that logs through `tracing`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};
use traffik_core::Origin;

use super::{Event, Observe, RequestOutcome};

/// An observer that logs denials and failures through `tracing`. Choose it to see in the log that a throttle
/// denies; use counters for exact figures.
///
/// It writes at most one line a second for the denials of a throttle, and one for its failures, so that a
/// flood cannot fill the log. In a line, `requests` is the number of requests since the line before it. The
/// line of the first denial is written at once. Requests that a throttle would have denied if it were
/// enforced count as denials, with `last` as `would_deny`.
///
/// ```
/// # #[cfg(feature = "tracing")] {
/// use traffik::web::{Throttle, Traces};
/// use traffik::{TokenBucket, rate};
///
/// let limit = TokenBucket::new(rate!("100/min"));
/// let throttle = Throttle::in_memory("api", limit).observe(Traces::default()).build()?;
/// # let _ = throttle;
/// # }
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Clone, Default)]
pub struct Traces(Arc<Mutex<HashMap<(String, bool), LogThrottle>>>);

/// The last line for one kind of event, and the events since.
#[derive(Default)]
struct LogThrottle {
    last: Option<Instant>,
    events: u64,
}

/// The least time between two lines of one kind.
const LOG_PERIOD: Duration = Duration::from_secs(1);

impl LogThrottle {
    /// Counts an event. Returns the number of events for a line if one is due.
    fn due(&mut self, now: Instant) -> Option<u64> {
        self.events += 1;
        if self.last.is_some_and(|last| now.duration_since(last) < LOG_PERIOD) {
            return None;
        }
        // The events since the last line are reported by this one, so no event is counted in two lines.
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
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Failures have separate lines, so that a flood of denials does not hide them.
        let key = (event.throttle.to_owned(), failed);
        let Some(requests) = lines.entry(key).or_default().due(Instant::now()) else { return };
        // The lock ends before the line is written: a subscriber may be slow, and other requests need not
        // wait.
        drop(lines);
        let (throttle, result) = (event.throttle, event.result.name());
        match event.failure {
            Some(failure) => {
                let kind = event.failure_kind();
                let source = event.origin.map(Origin::name);
                warn!(throttle, requests, kind, %failure, source, "the throttle could not decide on requests");
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

    /// A subscriber that keeps the lines.
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

    /// Ten thousand denials are one line for the first, and at most one for each second that they take.
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
        let (mut lines, began) = (LogThrottle::default(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        assert_eq!(lines.due(at(0)), Some(1));
        assert!((1..1000).all(|millis| lines.due(at(millis)).is_none()));
        assert_eq!(lines.due(at(1000)), Some(1000));
    }
}

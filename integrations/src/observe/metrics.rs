//! The observer that reports to the `metrics` facade.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use metrics::{Counter, Histogram, counter, histogram};
use traffik_core::Origin;

use super::{Event, Observe, RequestOutcome};

/// An observer that reports to the recorder of the `metrics` crate. Choose it where the program exports its
/// metrics through that crate; [`Tally`](crate::Tally) needs no recorder.
///
/// | metric | labels |
/// |---|---|
/// | counter `traffik_requests_total` | `throttle`, `result`: a [`RequestOutcome`] |
/// | counter `traffik_decisions_total` | `throttle`, `source`: the [name](Origin::name) of an [`Origin`] |
/// | histogram `traffik_check_seconds` | `throttle` |
/// | counter `traffik_store_errors_total` | `kind` |
///
/// A key is never a label. Install the recorder before the first request of a throttle: the observer looks
/// the throttle's counters up once, in the recorder that is installed then.
///
/// ```
/// # #[cfg(feature = "metrics")] {
/// use traffik::web::{Metrics, Throttle};
/// use traffik::{TokenBucket, rate};
///
/// let limit = TokenBucket::new(rate!("100/min"));
/// let throttle = Throttle::in_memory("api", limit).observe(Metrics::default()).build()?;
/// # let _ = throttle;
/// # }
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Clone, Default)]
pub struct Metrics(Arc<RwLock<HashMap<String, Handles>>>);

/// The counters of one throttle in the recorder, looked up once.
#[derive(Clone)]
struct Handles {
    results: [Counter; RequestOutcome::ALL.len()],
    origins: [Counter; Origin::ALL.len()],
    took: Histogram,
}

impl Handles {
    fn of(throttle: &str) -> Self {
        // `ALL` lists the variants in their order, so that `variant as usize` is the place of its counter.
        let result = |result: RequestOutcome| counter!("traffik_requests_total", "throttle" => throttle.to_owned(), "result" => result.name());
        let origin = |origin: Origin| counter!("traffik_decisions_total", "throttle" => throttle.to_owned(), "source" => origin.name());
        let took = histogram!("traffik_check_seconds", "throttle" => throttle.to_owned());
        Self { results: RequestOutcome::ALL.map(result), origins: Origin::ALL.map(origin), took }
    }

    fn record_event(&self, event: &Event<'_>) {
        if let Some(counter) = self.results.get(event.result as usize) {
            counter.increment(1);
        }
        if let Some(counter) = event.origin.and_then(|origin| self.origins.get(origin as usize)) {
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
        // Usually a throttle is in the map, so requests share the read lock. No panic under the lock leaves
        // the map half written, so a poisoned lock can be used.
        let throttles = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(handles) = throttles.get(event.throttle) {
            return handles.record_event(event);
        }
        // Between the locks another thread may have added the throttle: `or_insert_with` keeps the first.
        drop(throttles);
        let mut throttles = self.0.write().unwrap_or_else(PoisonError::into_inner);
        throttles
            .entry(event.throttle.to_owned())
            .or_insert_with(|| Handles::of(event.throttle))
            .record_event(event);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;

    use metrics::atomics::AtomicU64;
    use metrics::{Gauge, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use traffik_core::storage::BackendError;
    use traffik_core::{ErrorKind, Gcra, Rate};

    use super::*;
    use crate::{Admission, PeerAddress, Throttle};

    /// A recorder that keeps its figures by name and labels.
    #[derive(Default)]
    struct Recorded(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Recorded {
        fn figure(&self, key: &Key) -> Arc<AtomicU64> {
            let labels: Vec<_> =
                key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            let name = format!("{} {}", key.name(), labels.join(" "));
            Arc::clone(self.0.lock().unwrap().entry(name).or_default())
        }
    }

    struct Times(Arc<AtomicU64>);

    impl HistogramFn for Times {
        fn record(&self, seconds: f64) {
            assert!((0.0..60.0).contains(&seconds));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Recorder for Recorded {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.figure(key))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(Arc::new(Times(self.figure(key))))
        }
    }

    #[test]
    fn requests_are_counted_by_throttle_and_result_and_failures_by_kind() {
        let recorder = Recorded::default();
        metrics::with_local_recorder(&recorder, || {
            let observer = Metrics::default();
            let limit = Gcra::new(Rate::per_hour(1));
            let api = Throttle::in_memory("api", limit).observe(observer.clone()).build().unwrap();
            let failing = Throttle::in_memory("failing", limit)
                .strategy_by(|_| Err(BackendError::new(ErrorKind::Unavailable, "broken for a test").into()));
            let failing = failing.observe(observer).build().unwrap();
            let mut request = http::Request::new(());
            request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 1).into()));
            for _ in 0..3 {
                let _ = api.enter((&request).into());
                let _ = failing.enter((&request).into());
            }
        });
        let figures = recorder.0.into_inner().unwrap();
        let figures: Vec<_> = figures
            .iter()
            .map(|(name, figure)| (name.as_str(), figure.load(Ordering::Relaxed)))
            .filter(|(_, figure)| *figure > 0)
            .collect();
        assert_eq!(
            figures,
            [
                ("traffik_check_seconds throttle=api", 3),
                ("traffik_decisions_total throttle=api source=store", 3),
                ("traffik_decisions_total throttle=failing source=degraded-closed", 3),
                ("traffik_requests_total throttle=api result=allowed", 1),
                ("traffik_requests_total throttle=api result=denied", 2),
                ("traffik_requests_total throttle=failing result=failed", 3),
                ("traffik_store_errors_total kind=unavailable", 3),
            ]
        );
    }
}

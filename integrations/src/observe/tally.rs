//! The observer that counts in this process.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use traffik_core::{ErrorKind, Origin};

use super::{Event, Observe, RequestOutcome};

/// An observer that counts requests by throttle and outcome, decisions by origin, checks by duration, and
/// failures by kind. Choose it to serve a `/metrics` page without a metrics library: it returns numbers, or
/// Prometheus' text format. Clones share the counts.
///
/// ```
/// use traffik::{Gcra, rate};
/// use traffik::web::{RequestOutcome, Tally, Throttle};
///
/// let tally = Tally::default();
/// let throttle = Throttle::in_memory("api", Gcra::new(rate!("5/s"))).observe(tally.clone()).build()?;
/// assert_eq!(tally.count("api", RequestOutcome::Denied), 0);
/// assert!(tally.prometheus().contains("# TYPE traffik_requests_total counter"));
/// # let _ = throttle;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Clone, Default)]
pub struct Tally(Arc<TallyTable>);

/// The counts of all throttles, and of failures.
#[derive(Default)]
struct TallyTable {
    throttles: RwLock<BTreeMap<String, Arc<ThrottleCounts>>>,
    errors: [AtomicU64; ErrorKind::ALL.len()],
}

/// The counts of one throttle.
#[derive(Default)]
struct ThrottleCounts {
    results: [AtomicU64; RequestOutcome::ALL.len()],
    origins: [AtomicU64; Origin::ALL.len()],
    /// Checks by duration: at most the bound, and more than the bound before it.
    took: [AtomicU64; BOUNDS.len() + 1],
    /// The sum of the durations of all checks.
    nanoseconds: AtomicU64,
}

/// Upper bounds of the histogram, in nanoseconds: from a check in memory to one that timed out.
const BOUNDS: [u64; 9] =
    [1_000, 10_000, 100_000, 500_000, 1_000_000, 5_000_000, 25_000_000, 100_000_000, 1_000_000_000];

impl Tally {
    /// Returns how many requests of a throttle had this outcome.
    #[must_use]
    pub fn count(&self, throttle: &str, result: RequestOutcome) -> u64 {
        let throttles = self.0.throttles.read().unwrap_or_else(PoisonError::into_inner);
        throttles.get(throttle).map_or(0, |counts| counts.of(result))
    }

    /// Returns how many requests of a throttle were decided by this origin.
    #[must_use]
    pub fn decisions(&self, throttle: &str, origin: Origin) -> u64 {
        let throttles = self.0.throttles.read().unwrap_or_else(PoisonError::into_inner);
        throttles.get(throttle).map_or(0, |counts| counts.from(origin))
    }

    /// Returns the names of the throttles that have reported a request, sorted.
    #[must_use]
    pub fn throttles(&self) -> Vec<String> {
        self.0.throttles.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Returns how many checks of a throttle took how long: the upper bound of each span of durations, in
    /// ascending order, with the number of checks in the span. The last bound is [`Duration::MAX`]. The list
    /// is empty for a throttle that has reported no request.
    ///
    /// ```
    /// use traffik::web::Tally;
    ///
    /// assert!(Tally::default().check_times("api").is_empty());
    /// ```
    #[must_use]
    pub fn check_times(&self, throttle: &str) -> Vec<(Duration, u64)> {
        let throttles = self.0.throttles.read().unwrap_or_else(PoisonError::into_inner);
        // The last count is of all longer checks.
        let bounds = BOUNDS.iter().map(|bound| Duration::from_nanos(*bound)).chain([Duration::MAX]);
        let counts = throttles.get(throttle).into_iter().flat_map(|counts| &counts.took);
        bounds.zip(counts.map(|count| count.load(Ordering::Relaxed))).collect()
    }

    /// Returns how long all checks of a throttle took together.
    ///
    /// ```
    /// use std::time::Duration;
    /// use traffik::web::Tally;
    ///
    /// assert_eq!(Tally::default().check_time("api"), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn check_time(&self, throttle: &str) -> Duration {
        let throttles = self.0.throttles.read().unwrap_or_else(PoisonError::into_inner);
        let nanoseconds = throttles.get(throttle).map_or(0, |it| it.nanoseconds.load(Ordering::Relaxed));
        Duration::from_nanos(nanoseconds)
    }

    /// Returns how often storages have failed, by kind of failure.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kinds = ErrorKind::ALL.into_iter();
        kinds.zip(&self.0.errors).map(|(kind, count)| (kind.name(), count.load(Ordering::Relaxed)))
    }

    /// Adds `more` failures that a storage has counted since the last call and that no request has reported.
    /// For example, `RedisStorage::corrupt` and `MemcachedStorage::corrupt` count stored values that are not
    /// states; add them as [`ErrorKind::Corrupt`].
    pub fn add_errors(&self, kind: ErrorKind, more: u64) {
        if let Some(errors) = self.0.errors.get(kind as usize) {
            errors.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Returns all counts in Prometheus' text format.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let throttles = self.0.throttles.read().unwrap_or_else(PoisonError::into_inner);
        let throttles: Vec<_> = throttles.iter().map(|(name, counts)| (escaped(name), counts)).collect();
        writeln!(text, "# HELP traffik_requests_total Requests by throttle and what became of them.")?;
        writeln!(text, "# TYPE traffik_requests_total counter")?;
        for (throttle, counts) in &throttles {
            for result in RequestOutcome::ALL {
                let count = counts.of(result);
                let result = result.name();
                writeln!(
                    text,
                    "traffik_requests_total{{throttle=\"{throttle}\",result=\"{result}\"}} {count}"
                )?;
            }
        }
        writeln!(
            text,
            "# HELP traffik_decisions_total Requests by throttle and where the decision came from."
        )?;
        writeln!(text, "# TYPE traffik_decisions_total counter")?;
        for (throttle, counts) in &throttles {
            // A throttle reports no event with these two origins, so their counts would always be 0.
            let is_reported = |origin: &Origin| !matches!(origin, Origin::Bypassed | Origin::Disabled);
            for origin in Origin::ALL.into_iter().filter(is_reported) {
                let (count, source) = (counts.from(origin), origin.name());
                writeln!(
                    text,
                    "traffik_decisions_total{{throttle=\"{throttle}\",source=\"{source}\"}} {count}"
                )?;
            }
        }
        writeln!(text, "# HELP traffik_check_seconds How long checks took.")?;
        writeln!(text, "# TYPE traffik_check_seconds histogram")?;
        for (throttle, counts) in &throttles {
            // Prometheus' buckets are cumulative: bucket `n` is the sum of `took[0..=n]`.
            let mut so_far = 0;
            let bounds = BOUNDS.iter().map(|bound| (*bound as f64 / 1e9).to_string());
            for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&counts.took) {
                so_far += count.load(Ordering::Relaxed);
                writeln!(
                    text,
                    "traffik_check_seconds_bucket{{throttle=\"{throttle}\",le=\"{bound}\"}} {so_far}"
                )?;
            }
            let sum = Duration::from_nanos(counts.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
            writeln!(text, "traffik_check_seconds_sum{{throttle=\"{throttle}\"}} {sum}")?;
            writeln!(text, "traffik_check_seconds_count{{throttle=\"{throttle}\"}} {so_far}")?;
        }
        writeln!(text, "# HELP traffik_store_errors_total Failures of storages by kind.")?;
        writeln!(text, "# TYPE traffik_store_errors_total counter")?;
        for (kind, count) in self.errors() {
            writeln!(text, "traffik_store_errors_total{{kind=\"{kind}\"}} {count}")?;
        }
        Ok(())
    }

    fn counts(&self, throttle: &str) -> Arc<ThrottleCounts> {
        let throttles = self.0.throttles.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = throttles.get(throttle) {
            return Arc::clone(counts);
        }
        // Between the locks another thread may have added the throttle: `or_default` keeps the first.
        drop(throttles);
        let mut throttles = self.0.throttles.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(throttles.entry(throttle.to_owned()).or_default())
    }
}

impl ThrottleCounts {
    fn of(&self, result: RequestOutcome) -> u64 {
        self.results.get(result as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    fn from(&self, origin: Origin) -> u64 {
        self.origins.get(origin as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// Escapes a name for the value of a label.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Adds 1 to the count at an index.
fn count(counts: &[AtomicU64], at: usize) {
    if let Some(count) = counts.get(at) {
        // Counts only grow and order nothing else, so relaxed is enough.
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Observe for Tally {
    fn seen(&self, event: &Event<'_>) {
        let counts = self.counts(event.throttle);
        // `ALL` lists the variants in their order, so that `variant as usize` is the place of its count.
        count(&counts.results, event.result as usize);
        if let Some(origin) = event.origin {
            count(&counts.origins, origin as usize);
        }
        if let Some(took) = event.took {
            let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            count(&counts.took, BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS.len()));
            counts.nanoseconds.fetch_add(took, Ordering::Relaxed);
        }
        if let Some(failure) = event.failure {
            count(&self.0.errors, failure.kind() as usize);
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tally").field(&self.throttles()).finish()
    }
}

#[cfg(test)]
mod tests {
    use traffik_core::storage::BackendError;

    use traffik_core::ErrorKind;

    use super::*;

    #[test]
    fn a_label_is_escaped() {
        let tally = Tally::default();
        let event = Event {
            throttle: "a\"b\\c\nd",
            result: RequestOutcome::Denied,
            client: None,
            took: None,
            failure: None,
            origin: None,
        };
        tally.seen(&event);
        let line = r#"traffik_requests_total{throttle="a\"b\\c\nd",result="denied"} 1"#;
        let text = tally.prometheus();
        assert!(text.lines().any(|it| it == line), "{text}");
    }

    #[test]
    fn all_events_are_counted_and_exported() {
        let tally = Tally::default();
        let failure = BackendError::new(ErrorKind::Timeout, "late");
        let event = |result, micros, failure| Event {
            throttle: "api",
            result,
            client: None,
            took: Some(Duration::from_micros(micros)),
            failure,
            origin: Some(if failure.is_some() { Origin::DegradedOpen } else { Origin::Store }),
        };
        for (result, micros) in
            [(RequestOutcome::Allowed, 1), (RequestOutcome::Allowed, 7), (RequestOutcome::Denied, 2_000_000)]
        {
            tally.seen(&event(result, micros, None));
        }
        tally.seen(&event(RequestOutcome::Failed, 50_000, Some(&failure)));
        assert_eq!(
            (tally.count("api", RequestOutcome::Allowed), tally.count("api", RequestOutcome::Denied)),
            (2, 1)
        );
        assert_eq!(
            (tally.count("other", RequestOutcome::Allowed), tally.throttles()),
            (0, vec!["api".to_owned()])
        );
        tally.add_errors(ErrorKind::Corrupt, 3);
        let times = tally.check_times("api");
        let counted: Vec<_> = times.iter().filter(|(_, count)| *count > 0).copied().collect();
        let bounds = [1_000, 10_000, 100_000_000].map(|bound| (Duration::from_nanos(bound), 1));
        assert_eq!(counted, [&bounds[..], &[(Duration::MAX, 1)]].concat());
        assert_eq!(tally.check_time("api"), Duration::from_micros(2_050_008));
        let text = tally.prometheus();
        for line in [
            "traffik_requests_total{throttle=\"api\",result=\"allowed\"} 2",
            "traffik_requests_total{throttle=\"api\",result=\"failed\"} 1",
            "traffik_decisions_total{throttle=\"api\",source=\"store\"} 3",
            "traffik_decisions_total{throttle=\"api\",source=\"degraded-open\"} 1",
            "traffik_decisions_total{throttle=\"api\",source=\"fallback\"} 0",
            "traffik_check_seconds_bucket{throttle=\"api\",le=\"0.000001\"} 1",
            "traffik_check_seconds_bucket{throttle=\"api\",le=\"0.00001\"} 2",
            "traffik_check_seconds_bucket{throttle=\"api\",le=\"0.1\"} 3",
            "traffik_check_seconds_bucket{throttle=\"api\",le=\"1\"} 3",
            "traffik_check_seconds_bucket{throttle=\"api\",le=\"+Inf\"} 4",
            "traffik_check_seconds_sum{throttle=\"api\"} 2.050008",
            "traffik_check_seconds_count{throttle=\"api\"} 4",
            "traffik_store_errors_total{kind=\"timeout\"} 1",
            "traffik_store_errors_total{kind=\"full\"} 0",
            "traffik_store_errors_total{kind=\"corrupt\"} 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        for (at, seen) in RequestOutcome::ALL.into_iter().enumerate() {
            assert_eq!(seen as usize, at);
        }
        for (at, origin) in Origin::ALL.into_iter().enumerate() {
            assert_eq!(origin as usize, at);
        }
    }
}

//! Families of metrics, from figures that other parts hold, in Prometheus' text format.

use std::time::Duration;

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use traffik::Origin;
use traffik::web::{RequestOutcome, Tally};

/// The families of one answer. The encoder escapes the labels, so any text can be one.
#[derive(Default)]
pub(crate) struct Families(Vec<MetricFamily>);

/// The names and the values of a sample's labels.
pub(crate) type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Families {
    /// Adds a family of counters.
    pub(crate) fn counters<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, u64)>,
    ) {
        let metrics = samples.into_iter().map(|(labels, value)| {
            let mut counter = Counter::default();
            counter.set_value(value as f64);
            let mut metric = Metric::from_label(pairs(labels));
            metric.set_counter(counter);
            metric
        });
        self.add(name, help, MetricType::COUNTER, metrics.collect());
    }

    /// Adds a family of gauges.
    pub(crate) fn gauges<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, f64)>,
    ) {
        let metrics = samples.into_iter().map(|(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_label(pairs(labels));
            metric.set_gauge(gauge);
            metric
        });
        self.add(name, help, MetricType::GAUGE, metrics.collect());
    }

    /// Adds the counts of requests, decisions, durations and failures of these throttles.
    pub(crate) fn tally(&mut self, tally: &Tally, throttles: &[String]) {
        let by_outcome = |throttle: &String, outcome: RequestOutcome| tally.count(throttle, outcome);
        let requests = throttles.iter().flat_map(|throttle| {
            RequestOutcome::ALL.into_iter().map(move |outcome| {
                let labels = vec![("throttle", throttle.as_str()), ("result", outcome.name())];
                (labels, by_outcome(throttle, outcome))
            })
        });
        self.counters("traffik_requests_total", "Requests by throttle and what became of them.", requests);
        // A throttle reports no event with these two origins, so their counts would always be 0.
        let is_reported = |origin: &Origin| !matches!(origin, Origin::Bypassed | Origin::Disabled);
        let decisions = throttles.iter().flat_map(|throttle| {
            Origin::ALL.into_iter().filter(is_reported).map(move |origin| {
                let labels = vec![("throttle", throttle.as_str()), ("source", origin.name())];
                (labels, tally.decisions(throttle, origin))
            })
        });
        self.counters(
            "traffik_decisions_total",
            "Requests by throttle and where the decision came from.",
            decisions,
        );
        let checks = throttles.iter().map(|throttle| {
            let mut metric = Metric::from_label(pairs(vec![("throttle", throttle)]));
            metric.set_histogram(histogram(&tally.check_times(throttle), tally.check_time(throttle)));
            metric
        });
        self.add("traffik_check_seconds", "How long checks took.", MetricType::HISTOGRAM, checks.collect());
        let errors = tally.errors().map(|(kind, count)| (vec![("kind", kind)], count));
        self.counters("traffik_store_errors_total", "Failures of storages by kind.", errors);
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        // The format has no family without samples.
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }

    /// Returns all families as text.
    ///
    /// # Errors
    ///
    /// Fails if a family has no name.
    pub(crate) fn text(&self) -> Result<String, String> {
        TextEncoder::new().encode_to_string(&self.0).map_err(|error| error.to_string())
    }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    labels.into_iter().map(pair).collect()
}

/// Returns the histogram of durations, counted by their upper bounds. Prometheus' buckets are cumulative.
fn histogram(times: &[(Duration, u64)], sum: Duration) -> Histogram {
    let mut so_far = 0;
    let buckets = times.iter().map(|(bound, count)| {
        so_far += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(if *bound == Duration::MAX { f64::INFINITY } else { bound.as_secs_f64() });
        bucket.set_cumulative_count(so_far);
        bucket
    });
    let buckets: Vec<_> = buckets.collect();
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.into_iter().filter(|it| it.upper_bound().is_finite()).collect());
    histogram.set_sample_count(so_far);
    histogram.set_sample_sum(sum.as_secs_f64());
    histogram
}

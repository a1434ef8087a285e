//! The counts of a throttle, and their change over a while.

use std::time::Duration;

use serde_json::{Value, json};
use traffik::Origin;
use traffik::web::{RequestOutcome, Tally};

/// The counts of a throttle since the start.
#[derive(Clone, Default)]
pub(super) struct Totals {
    admitted: u64,
    denied: u64,
    would_deny: u64,
    failed: u64,
    fallback: u64,
    open: u64,
    /// The checks by the upper bounds of their durations.
    checks: Vec<(Duration, u64)>,
    check_time: Duration,
}

impl Totals {
    pub(super) fn of(uid: &str, tally: &Tally) -> Self {
        let sum =
            |results: &[RequestOutcome]| results.iter().map(|result| tally.count(uid, *result)).sum::<u64>();
        Self {
            admitted: sum(&[RequestOutcome::Allowed, RequestOutcome::Delayed]),
            denied: sum(&[RequestOutcome::Denied, RequestOutcome::Never]),
            would_deny: sum(&[RequestOutcome::WouldDeny]),
            failed: sum(&[RequestOutcome::Failed]),
            fallback: tally.decisions(uid, Origin::Fallback),
            open: tally.decisions(uid, Origin::DegradedOpen),
            checks: tally.check_times(uid),
            check_time: tally.check_time(uid),
        }
    }

    /// Returns the counts as the live page shows them.
    pub(super) fn json(&self, uid: &str) -> Value {
        json!({
            "uid": uid,
            "admitted": self.admitted,
            "denied": self.denied,
            "would_deny": self.would_deny,
            "failed": self.failed,
            "fallback": self.fallback,
            "open": self.open,
        })
    }
}

/// The requests of a throttle within a while. Figures that are too large for their field are its maximum.
pub(super) struct Point {
    admitted: u32,
    denied: u32,
    failed: u32,
    /// The mean duration of a check, in nanoseconds.
    mean: u32,
    /// The least bound of the histogram that 99 % of the checks did not pass, in nanoseconds.
    bound: u32,
}

impl Point {
    /// Returns the change from one time to a later one.
    pub(super) fn between(before: &Totals, after: &Totals) -> Self {
        let count = |before: u64, after: u64| u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX);
        // The last bound of the histogram is `Duration::MAX`, for which the page writes "more than 1 s".
        let nanoseconds = |time: Duration| u32::try_from(time.as_nanos()).unwrap_or(u32::MAX);
        // A throttle without a request has an empty histogram.
        // Requests go on while counts are read, so a difference may lag, but is never negative.
        let known = before.checks.iter().map(|(_, count)| *count).chain(std::iter::repeat(0));
        let spans = after.checks.iter().zip(known);
        let spans: Vec<_> =
            spans.map(|((bound, count), known)| (*bound, count.saturating_sub(known))).collect();
        let checks: u64 = spans.iter().map(|(_, count)| count).sum();
        let took = after.check_time.saturating_sub(before.check_time);
        // took / checks, which a while of no more than ten seconds keeps far below the maximum of its type.
        let mean = u32::try_from(checks).ok().filter(|checks| *checks > 0).map(|checks| took / checks);
        let mut so_far = 0;
        let is_enough = |(_, count): &&(Duration, u64)| {
            so_far += count;
            // so_far / checks >= 99 / 100
            checks > 0 && u128::from(so_far) * 100 >= u128::from(checks) * 99
        };
        let bound = spans.iter().find(is_enough).map(|(bound, _)| *bound);
        Self {
            admitted: count(before.admitted, after.admitted),
            denied: count(before.denied, after.denied),
            failed: count(before.failed, after.failed),
            mean: mean.map_or(0, nanoseconds),
            bound: bound.map_or(0, nanoseconds),
        }
    }

    /// Returns the figures in the order of the fields.
    pub(super) fn json(&self) -> Value {
        json!([self.admitted, self.denied, self.failed, self.mean, self.bound])
    }
}

//! The list of all strategies.

use crate::Rate;

/// Returns `rate` with at most this limit, for strategies that keep an entry for each hit.
#[must_use]
pub fn at_most(limit: u32, rate: Rate) -> Rate {
    if rate.is_unlimited() { rate } else { Rate::new(rate.limit().min(limit), rate.period()).unwrap_or(rate) }
}

/// Calls a macro once for each strategy of this crate, for tests that hold for all of them.
///
/// The macro gets the strategy's identifier, its spelling for the gateway, `own` or `shared`, and a function
/// from a [`Rate`](crate::Rate) to the strategy, or to `None` if there is none of that rate. A `shared` limit
/// is divided among members. All admit several hits at once: a strategy that admits one at a time has a burst
/// of up to 100 here.
///
/// ```
/// use traffik::{Hit, Rate, Strategy, Timestamp};
///
/// let mut admitting = Vec::new();
/// macro_rules! ask {
///     ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {{
///         let make: fn(Rate) -> Option<_> = $make;
///         let strategy = make(Rate::per_minute(10)).unwrap();
///         if strategy.decide(&mut Default::default(), &Hit::new(1), Timestamp::EPOCH).is_allowed() {
///             admitting.push($spelling);
///         }
///     }};
/// }
/// traffik::every_strategy!(ask);
/// assert!(admitting.contains(&"token-bucket"));
/// ```
#[macro_export]
macro_rules! every_strategy {
    ($each:ident) => {
        $each!(fixed_window, "fixed-window", own, |rate| Some($crate::FixedWindow::new(rate)));
        $each!(sliding_window, "sliding-window", own, |rate| Some($crate::SlidingWindow::new(rate)));
        $each!(strict_window, "sliding-window:strict=12", own, |rate| {
            Some($crate::SlidingWindow::strict::<12>(rate))
        });
        $each!(sliding_log, "sliding-log", own, |rate| {
            $crate::SlidingLog::<100>::new($crate::laws::at_most(100, rate)).ok()
        });
        $each!(token_bucket, "token-bucket", own, |rate| Some($crate::TokenBucket::new(rate)));
        $each!(leaky_bucket, "leaky-bucket", own, |rate| {
            $crate::LeakyBucket::new(rate).capacity(rate.limit().min(100)).ok()
        });
        $each!(leaky_bucket_queue, "leaky-bucket-queue", own, |rate| Some($crate::LeakyBucketQueue::new(
            rate
        )));
        $each!(gcra, "gcra", own, |rate| $crate::Gcra::new(rate).burst(rate.limit().min(100)).ok());
        $each!(adaptive, "adaptive", own, |rate| Some($crate::Adaptive::new(rate)));
        $each!(quota_rollover, "quota-rollover", own, |rate| Some($crate::QuotaRollover::new(rate)));
        $each!(cost_based, "cost-based", own, |rate| Some($crate::CostBased::new(rate)));
        $each!(fair_share, "fair-share:instance=a", shared, |rate| Some($crate::FairShare::<4>::new(rate)));
        $each!(regions, "regions:a=1/2,default=1/2", shared, |rate| {
            $crate::Regions::<4>::new(rate, &[]).ok().map(|regions| regions.spill(true))
        });
    };
}

//! nginx's `limit_req`: an oracle of its arithmetic, as its documentation and its source define it, without
//! `delay`, which no strategy of ours has, beside the leaky bucket and the queue.
//!
//! Of each key it keeps the time of the last request in milliseconds, and the excess over the rate in
//! thousandths of a request. A request adds 1 to what is left of the excess, the first one of a key nothing,
//! and is refused beyond the burst. So the excess is our level less the unit that leaves now.

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use traffik::{Hit, LeakyBucket, LeakyBucketQueue, Outcome, Rate, Strategy};

use super::millis;
use crate::model::runs::config;

/// The rate and the burst in thousandths, and of the key the excess and the time of the last request.
struct LimitReq {
    rate: i64,
    burst: i64,
    last: Option<(i64, i64)>,
}

impl LimitReq {
    /// The excess with a request that comes now.
    fn excess(&self, now: i64) -> i64 {
        self.last.map_or(0, |(excess, last)| (excess - self.rate * (now - last) / 1_000 + 1_000).max(0))
    }

    /// How long a request of this excess is held back, in milliseconds; nobody with `nodelay`.
    fn delay(&self, excess: i64) -> i64 {
        excess * 1_000 / self.rate
    }
}

/// A rate in requests a second, or a minute; a burst; and the milliseconds between requests.
fn runs(rates: impl Generator<Value = u32>) -> impl Generator<Value = (u32, u32, Vec<i64>)> {
    let pauses = prop_oneof![3 => Just(0), 3 => 1i64..50, 2 => 1i64..2_000, 1 => 1i64..100_000];
    (rates, 0u32..20, prop::collection::vec(pauses, 1..200))
}

proptest! {
    #![proptest_config(config(1))]

    /// Rates a second: they drain whole thousandths in a millisecond, so nothing is rounded but the delay,
    /// down to a millisecond, and every decision is the same.
    #[test]
    fn rates_a_second_decide_as_limit_req((per_second, burst, pauses) in runs(1u32..=1_000)) {
        let rate = Rate::per_second(per_second);
        let nodelay = LeakyBucket::new(rate).capacity(burst + 1).unwrap();
        let delaying = LeakyBucketQueue::new(rate).queue(burst).unwrap();
        let (whole, most) = (i64::from(per_second) * 1_000, i64::from(burst) * 1_000);
        let mut theirs = LimitReq { rate: whole, burst: most, last: None };
        let (mut now, mut level, mut queue) = (0, Default::default(), Default::default());
        for pause in pauses {
            now += pause;
            let excess = theirs.excess(now);
            let at = millis(now.unsigned_abs());
            let admitted = excess <= theirs.burst;
            prop_assert_eq!(nodelay.decide(&mut level, &Hit::new(1), at).is_allowed(), admitted);
            match delaying.decide(&mut queue, &Hit::new(1), at).outcome() {
                Outcome::Allow { after } => {
                    prop_assert!(admitted);
                    prop_assert_eq!(after.as_millis(), theirs.delay(excess).unsigned_abs().into());
                }
                _ => prop_assert!(!admitted),
            }
            if admitted {
                theirs.last = Some((excess, now));
            }
        }
    }

    /// Rates a minute: they are cut to thousandths a second, and so is what drains between two requests. With
    /// each, nginx is behind by less than a thousandth of a request, and stricter by no more.
    #[test]
    fn rates_a_minute_are_within_a_thousandth_a_request((per_minute, burst, pauses) in runs(1u32..=600)) {
        let cut = per_minute * 1_000 / 60;
        let rate = Rate::new(cut, std::time::Duration::from_secs(1_000)).unwrap();
        let limit = LeakyBucket::new(rate).capacity(burst + 1).unwrap();
        let mut theirs = LimitReq { rate: cut.into(), burst: i64::from(burst) * 1_000, last: None };
        let (mut now, mut level, mut behind) = (0, Default::default(), 0);
        for pause in pauses {
            now += pause;
            let excess = theirs.excess(now);
            let admitted = limit.decide(&mut level, &Hit::new(1), millis(now.unsigned_abs())).is_allowed();
            behind = if excess == 0 { 0 } else { behind + 1 };
            if admitted {
                prop_assert!(excess <= theirs.burst + behind, "{} of {}", excess, theirs.burst);
                theirs.last = Some((excess, now));
            } else {
                prop_assert!(excess > theirs.burst, "refused what is within the burst");
            }
        }
    }
}

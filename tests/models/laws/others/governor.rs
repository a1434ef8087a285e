//! The crate governor beside [`Gcra`] with a burst: over random hits, no decision and no wait differs.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, FakeRelativeClock};
use governor::{Quota, RateLimiter};
use proptest::prelude::*;
use traffik::{Gcra, Hit, Outcome, Rate, Strategy};

use super::millis;
use crate::model::runs::config;

proptest! {
    #![proptest_config(config(1))]

    /// Of whole microseconds between two hits, since governor cuts an interval to whole nanoseconds, and our
    /// waits are whole microseconds.
    #[test]
    fn gcra_decides_as_governor(
        interval in 1u64..5_000_000,
        burst in 1u32..50,
        hits in prop::collection::vec((0u64..8, 0u64..1_000, 1u32..4), 1..300),
    ) {
        let interval_of_one = Duration::from_micros(interval);
        let most = NonZeroU32::new(burst).unwrap();
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(interval_of_one).unwrap().allow_burst(most);
        let theirs = RateLimiter::direct_with_clock(quota, clock.clone());
        let limit = Gcra::new(Rate::new(1, interval_of_one).unwrap()).burst(burst).unwrap();
        let (mut state, mut now) = (Default::default(), millis(0));
        for (intervals, thousandths, cost) in hits {
            // Two of three come in a cluster, and one after some intervals.
            let pause = if intervals < 5 { interval * thousandths / 4_000 } else { interval * intervals };
            clock.advance(Duration::from_micros(pause));
            now = now.plus_micros(pause);
            let own = limit.decide(&mut state, &Hit::new(cost), now).outcome();
            match theirs.check_n(NonZeroU32::new(cost).unwrap()) {
                Err(_) => prop_assert_eq!(own, Outcome::Never),
                Ok(Ok(())) => prop_assert!(own.is_allowed(), "{:?} where governor admits", own),
                Ok(Err(not_until)) => {
                    let retry_after = not_until.wait_time_from(clock.now());
                    prop_assert_eq!(own, Outcome::Deny { retry_after });
                }
            }
        }
    }
}

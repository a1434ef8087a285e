//! Limits that change under the states of a storage: what was told is kept.

use std::sync::Arc;
use std::time::Duration;

use traffik::{
    FixedWindow, Hit, ManualClock, Memory, Op, Outcome, QuotaRollover, Rate, SlidingLog, SlidingWindow,
    Storage, Strategy, Timestamp, Verdict, rate,
};

/// 10 minutes and 29 seconds into an hour.
const NOW: Timestamp = Timestamp::from_micros((500_000 * 3_600 + 629) * 1_000_000);

/// Uses up a limit, changes it to one of a longer period, and is denied for as long as it was told.
fn keeps_what_it_tells<S: Strategy<Cost = u32>>(make: impl Fn(Rate) -> S, told: Duration) {
    let name = std::any::type_name::<S>();
    let clock = Arc::new(ManualClock::new(NOW));
    let memory = Memory::builder().capacity(100).clock(Arc::clone(&clock)).build();
    assert_eq!(check(&memory, &make, &clock), told, "{name}");
}

/// Returns how long the key is denied once the period has become an hour, asked ever so often between.
fn check<S: Strategy<Cost = u32>>(
    storage: &impl Storage<S>,
    make: &impl Fn(Rate) -> S,
    clock: &ManualClock,
) -> Duration {
    clock.set(NOW);
    let (before, after) = (make(rate!("100/min")), make(rate!("100/h")));
    let ask = |limit: &S, cost| {
        let op = Op::Check(Hit::new(cost));
        storage.apply(limit, "key", &op, storage.now()).unwrap().outcome()
    };
    while ask(&before, 1).is_allowed() {}
    let Outcome::Deny { retry_after } = ask(&after, 1) else { panic!("granted at once") };
    for _ in 0..100 {
        assert!(!ask(&after, 1).is_allowed(), "granted before the wait that was told");
        clock.advance(retry_after / 100);
    }
    clock.advance(Duration::from_micros(1_000));
    assert!(ask(&after, 1).is_allowed(), "denied after the wait that was told");
    retry_after
}

#[test]
fn a_period_that_becomes_longer_keeps_what_was_used() {
    let to_the_hour = Duration::from_secs(3_600 - 629);
    keeps_what_it_tells(FixedWindow::new, to_the_hour);
    keeps_what_it_tells(QuotaRollover::new, to_the_hour);
    keeps_what_it_tells(|rate| SlidingLog::<128>::new(rate).unwrap(), Duration::from_secs(3_600));
    // As soon as less than all of the hour before counts.
    keeps_what_it_tells(SlidingWindow::new, to_the_hour + Duration::from_micros(1));
}

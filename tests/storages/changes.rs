//! Limits that change under the states of a storage: what was told is kept.

use std::sync::Arc;
use std::time::Duration;

use traffik::strategy::{Erased, ErasedStrategy};
use traffik::{
    All, Class, Cost, CostBased, Fixed, FixedWindow, Gcra, Hit, Hours, Label, LeakyBucket, LeakyBucketQueue,
    ManualClock, Memory, Op, Outcome, Priority, QuotaRollover, Rate, SlidingLog, SlidingWindow, Storage,
    Strategy, Tiered, TimeOfDay, Timestamp, TokenBucket, Verdict, rate,
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

/// Uses up a limit of one a day and changes it to one of a thousand half a day later: half of that one is
/// then still to come, and comes at the new rate, however often it is asked for.
fn grants_nothing_of_the_past<S: Strategy>(make: impl Fn(Rate) -> S, wait: Duration) {
    let clock = Arc::new(ManualClock::new(NOW));
    let memory = Memory::builder().capacity(100).clock(Arc::clone(&clock)).build();
    keeps_the_past(&memory, &make, &clock, wait);
    keeps_the_past(&Fixed::<S, _, 8>::new(Arc::clone(&clock), 7), &make, &clock, wait);
}

fn keeps_the_past<S: Strategy>(
    storage: &impl Storage<S>,
    make: &impl Fn(Rate) -> S,
    clock: &ManualClock,
    wait: Duration,
) {
    let name = std::any::type_name::<S>();
    clock.set(NOW);
    let (before, after) = (make(rate!("1/d")), make(rate!("1000/d")));
    let mut class = Class::default();
    class.priority = Label(1);
    let ask = |limit: &S| {
        let op = Op::Check(Hit::new(S::Cost::uniform(1)).with_class(class));
        storage.apply(limit, "key", &op, storage.now()).unwrap().outcome()
    };
    while ask(&before).is_allowed() {}
    clock.advance(Duration::from_secs(12 * 3_600));
    assert_eq!(ask(&after), Outcome::Deny { retry_after: wait }, "{name}");
    let then = storage.now() + wait;
    for _ in 0..10 {
        clock.advance(wait / 11);
        assert!(!ask(&after).is_allowed(), "{name}: granted before the wait that was told");
    }
    clock.set(Timestamp::from_micros(then.as_micros() - 1));
    assert!(!ask(&after).is_allowed(), "{name}: granted a microsecond early");
    clock.set(then);
    assert!(ask(&after).is_allowed(), "{name}: denied after the wait that was told");
}

#[test]
fn a_rate_that_is_raised_grants_nothing_of_the_past() {
    let half = Duration::from_micros(43_200_000);
    let all_day = |ratio: &str| [Hours::new((0, 0), (12, 0), ratio.parse().unwrap())];
    grants_nothing_of_the_past(Gcra::new, half);
    grants_nothing_of_the_past(LeakyBucket::new, half);
    grants_nothing_of_the_past(|rate| TokenBucket::new(rate).burst(1).unwrap(), half);
    grants_nothing_of_the_past(|rate| CostBased::new(rate).burst(1).unwrap(), half);
    grants_nothing_of_the_past(|rate| (Gcra::new(rate), FixedWindow::new(rate!("100/d"))), half);
    let twice = |rate: Rate| Gcra::new(rate.scaled("2".parse().unwrap()));
    grants_nothing_of_the_past(|rate| All([Gcra::new(rate), twice(rate)]), half);
    let tiers = [(Label(1), "1".parse().unwrap())];
    grants_nothing_of_the_past(|rate| Tiered::new(Gcra::new(rate), tiers).unwrap(), half);
    grants_nothing_of_the_past(|rate| TimeOfDay::new(Gcra::new(rate), all_day("1")).unwrap(), half);
    let reserve = [(Label(1), "1/2".parse().unwrap())];
    let bucket = |rate| TokenBucket::new(rate).burst(2).unwrap();
    grants_nothing_of_the_past(|rate| Priority::new(bucket(rate), reserve).unwrap(), half);
    type Chosen = Erased<Arc<dyn ErasedStrategy<64>>, 64>;
    grants_nothing_of_the_past(|rate| -> Chosen { Erased::new(Arc::new(Gcra::new(rate))) }, half);
    // A turn that was told stays told.
    let queue = |rate| LeakyBucketQueue::new(rate).queue(0).unwrap();
    grants_nothing_of_the_past(queue, Duration::from_secs(12 * 3_600));
}

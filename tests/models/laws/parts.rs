//! The parts of a limit, for several that hold it together: all of them admit no more than the whole.

use core::time::Duration;
use std::sync::Arc;

use traffik::strategy::{Erased, ErasedScale};
use traffik::{
    CostBased, Decision, Gcra, Hit, Hours, Label, LeakyBucket, LeakyBucketQueue, Priority, QuotaRollover,
    Rate, Ratio, Scale, Strategy, Tiered, TimeOfDay, Timestamp, TokenBucket, rate,
};

/// The cost that a fresh limit admits at once, a hit of 1 after the other, and after this time.
fn admitted<S: Strategy<Cost = u32, Verdict = Decision>>(strategy: &S, seconds: u64) -> usize {
    let mut state = S::State::default();
    let mut all = |second: u64| {
        let now = Timestamp::from_micros((1_000_000 + second) * 1_000_000);
        (0..10_000).take_while(|_| strategy.decide(&mut state, &Hit::new(1), now).is_allowed()).count()
    };
    all(0) + all(seconds)
}

fn parts_hold<S: Scale<Cost = u32, Verdict = Decision>>(name: &str, strategy: &S) {
    for parts in [1, 2, 3, 4, 7] {
        let part = strategy.part(Ratio::new(1, parts).unwrap()).unwrap();
        for seconds in [0, 1, 10, 100, 1_000] {
            let (all, each) = (admitted(strategy, seconds), admitted(&part, seconds));
            assert!(
                each > 0 && each * parts as usize <= all,
                "{name}: {parts} of {each} beside {all} in {seconds} s"
            );
        }
    }
    // Parts of parts are parts.
    let half = Ratio::new(1, 2).unwrap();
    let quarter = strategy.part(half).and_then(|it| it.part(half)).unwrap();
    assert!(admitted(&quarter, 0) * 4 <= admitted(strategy, 0), "{name}");
}

#[test]
fn parts_of_every_strategy_are_no_more_than_the_whole() {
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            parts_hold(stringify!($name), &make(rate!("100/1000s")).unwrap());
        };
    }
    traffik::every_strategy!(each);
}

/// Four gateways of a bucket that holds 100 would let 400 pass at once, were the burst not divided as well.
#[test]
fn a_burst_is_divided_as_the_rate_is() {
    let slow = rate!("100/1000s");
    let bucket = TokenBucket::new(slow).burst(100).unwrap();
    parts_hold("bucket", &bucket);
    assert_eq!(admitted(&bucket.part(Ratio::new(1, 4).unwrap()).unwrap(), 0), 25);
    assert_eq!(admitted(&bucket.scaled(Ratio::new(1, 4).unwrap()).unwrap(), 0), 100, "by tier it stays");
    parts_hold("debt", &bucket.debt(50).unwrap());
    parts_hold("leaky", &LeakyBucket::new(slow).capacity(100).unwrap());
    parts_hold("queue", &LeakyBucketQueue::new(slow).queue(90).unwrap());
    parts_hold("gcra", &Gcra::new(slow).burst(100).unwrap());
    parts_hold("tolerance", &Gcra::new(slow).tolerance(Duration::from_secs(300)).unwrap());
    parts_hold("cost", &CostBased::new(slow).burst(200).unwrap());
    parts_hold("rollover", &QuotaRollover::new(slow).max_rollover(30));
    let erased: Arc<dyn ErasedScale<32>> = Arc::new(bucket);
    parts_hold("erased", &Erased::<_, 32>::new(erased));
    let (free, low) = (Label::named("free"), Label::named("low"));
    parts_hold("tiered", &Tiered::new(bucket, [(free, Ratio::ONE)]).unwrap());
    parts_hold("priority", &Priority::new(bucket, [(low, "1/10".parse().unwrap())]).unwrap());
    parts_hold(
        "hours",
        &TimeOfDay::new(bucket, [Hours::new((8, 0), (17, 0), "1/2".parse().unwrap())]).unwrap(),
    );
}

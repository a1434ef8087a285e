//! Hits leave in the order in which they came, whatever changes: no turn is earlier than one that was granted
//! before.

use std::time::Duration;

use traffik::{
    Class, Hit, Label, LeakyBucketQueue, Outcome, Rate, Ratio, Strategy, Tiered, Timestamp, Verdict,
};

/// The turns of hits in milliseconds: when each came, under which limit, and of which class.
fn turns<S: Strategy<Cost = u32>>(hits: impl IntoIterator<Item = (u64, S, Class)>) -> Vec<u64> {
    let mut state = S::State::default();
    let turn = |(at, limit, class): (u64, S, Class)| {
        let now = Timestamp::EPOCH + Duration::from_millis(at);
        match limit.decide(&mut state, &Hit::new(1).with_class(class), now).outcome() {
            Outcome::Allow { after } => at + after.as_millis() as u64,
            outcome => panic!("{outcome:?}"),
        }
    };
    hits.into_iter().map(turn).collect()
}

/// Each hit leaves once those before it have had their time: five at 1/s, then five at 2 s under another
/// rate.
#[test]
fn turns_stay_told_when_the_rate_is_raised_or_lowered() {
    let five = |first: u64, step: u64| (0..5).map(move |hit| first + hit * step);
    let cases = [
        (1, 10, five(0, 1_000).chain(five(5_000, 100))),
        (1, 2, five(0, 1_000).chain(five(5_000, 500))),
        // One has left by then; what is still in the queue takes the slower one's time.
        (2, 1, five(0, 500).chain(five(4_500, 1_000))),
    ];
    for (before, after, told) in cases {
        let [before, after] = [before, after].map(|limit| LeakyBucketQueue::new(Rate::per_second(limit)));
        let [before, after] = [before, after].map(|queue| queue.queue(40).unwrap());
        let first = (0..5).map(|_| (0, before, Class::default()));
        let then =
            (0..5).map(|_| (if before.rate().limit() == 1 { 2_000 } else { 500 }, after, Class::default()));
        assert_eq!(turns(first.chain(then)), told.collect::<Vec<_>>());
    }
}

/// Under a rate that is raised a hundredfold the queue is as long in time as it may be, and denies until it
/// is not.
#[test]
fn a_queue_that_has_told_later_turns_than_it_may_denies() {
    let [slow, quick] =
        [1, 100].map(|limit| LeakyBucketQueue::new(Rate::per_second(limit)).queue(20).unwrap());
    let (mut state, two) = (Default::default(), Timestamp::from_micros(2_000_000));
    for _ in 0..5 {
        assert!(slow.decide(&mut state, &Hit::new(1), Timestamp::EPOCH).is_allowed());
    }
    let denied = quick.decide(&mut state, &Hit::new(1), two);
    assert_eq!(denied.outcome(), Outcome::Deny { retry_after: Duration::from_millis(2_800) });
    let admitted = quick.decide(&mut state, &Hit::new(1), two.plus_micros(2_800_000));
    assert_eq!(admitted.outcome(), Outcome::Allow { after: Duration::from_millis(200) });
}

#[test]
fn turns_never_go_backwards_when_tiers_alternate() {
    let fast = Label::named("fast");
    let tiers = [(Label::named("slow"), Ratio::ONE), (fast, Ratio::new(4, 1).unwrap())];
    let limit = Tiered::new(LeakyBucketQueue::new(Rate::per_second(1)).queue(60).unwrap(), tiers).unwrap();
    let hits = (0..12).map(|hit| {
        let mut class = Class::default();
        class.tier = if hit % 3 == 2 { fast } else { Label::default() };
        (0, limit, class)
    });
    let turns = turns(hits);
    assert!(turns.is_sorted(), "{turns:?}");
    assert_eq!(
        turns[..5],
        [0, 1_000, 2_000, 3_000, 4_000],
        "what was used counts once, however often they alternate"
    );
    assert!(turns[11] <= 11_000, "{turns:?}");
}

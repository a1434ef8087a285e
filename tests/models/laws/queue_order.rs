//! Who came first leaves first, whatever changes: no turn is earlier than one that was told before.

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

fn queue(rate: Rate) -> LeakyBucketQueue {
    LeakyBucketQueue::new(rate).queue(20).unwrap()
}

#[test]
#[ignore = "a queue under a raised rate drains faster than it has told"]
fn turns_never_go_backwards_when_the_rate_is_raised_or_lowered() {
    for (before, after) in [(1, 100), (1, 2), (2, 1), (100, 1)] {
        let [before, after] = [before, after].map(|limit| queue(Rate::per_second(limit)));
        let first = (0..5).map(|_| (0, before, Class::default()));
        let then = (0..5).map(|hit| (2_000 + 10 * hit, after, Class::default()));
        let turns = turns(first.chain(then));
        println!("{turns:?}");
        assert!(turns.is_sorted(), "{turns:?}");
    }
}

#[test]
#[ignore = "a queue under a raised rate drains faster than it has told"]
fn turns_never_go_backwards_when_tiers_alternate() {
    let fast = Label::named("fast");
    let tiers = [(fast, Ratio::new(4, 1).unwrap())];
    let limit = Tiered::new(queue(Rate::per_second(1)), tiers).unwrap();
    let mut class = Class::default();
    let hits: Vec<_> = (0..5)
        .map(|hit| {
            class.tier = if hit == 3 { fast } else { Label::default() };
            (0, limit, class)
        })
        .collect();
    let turns = turns(hits);
    println!("{turns:?}");
    assert!(turns.is_sorted(), "{turns:?}");
}

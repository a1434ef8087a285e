//! Cases of the cost-based bucket beside its properties.

use core::time::Duration;

use super::*;
use crate::Outcome;

const START: Timestamp = Timestamp::from_micros(1_000_000_000);

fn ratio(num: u64, den: u64) -> Ratio {
    Ratio::new(num, den).unwrap()
}

fn admit(bucket: &CostBased, state: &mut CostBasedState, cost: u32) -> Decision {
    let decision = bucket.decide(state, &Hit::new(cost), START);
    assert!(decision.is_allowed());
    decision
}

#[test]
fn hits_of_one_have_a_token_bucket() {
    let (bucket, plain) = (CostBased::new(Rate::per_second(3)), crate::TokenBucket::new(Rate::per_second(3)));
    let (mut state, mut level) = Default::default();
    for step in 0..100 {
        let at = START.plus_micros(step * 77_777);
        let figures = |it: Decision| (it.outcome(), it.remaining(), it.reset_after());
        let expected = plain.decide(&mut level, &Hit::new(1), at);
        assert_eq!(figures(bucket.decide(&mut state, &Hit::new(1), at)), figures(expected), "{step}");
    }
}

#[test]
fn dear_hits_slow_the_refill_down_to_the_floor_and_cheap_ones_speed_it_up() {
    let bucket = CostBased::new(Rate::per_second(4)).burst(100).unwrap().window(1).unwrap();
    let bucket = bucket.floor(ratio(1, 8)).unwrap();
    let mut state = CostBasedState::default();
    for (cost, share) in [(1, ratio(1, 1)), (4, ratio(1, 4)), (20, ratio(1, 8)), (2, ratio(1, 2))] {
        let _ = admit(&bucket, &mut state, cost);
        let stat = bucket.stat(&state, Class::default(), START);
        assert_eq!(stat.mean_cost, ratio(cost.into(), 1));
        assert_eq!(stat.refill, Ratio::new(4 * share.num(), 1_000_000 * share.den()).ok(), "{cost}");
    }
}

#[test]
fn a_full_bucket_forgets_the_mean() {
    let bucket = CostBased::new(Rate::per_second(10)).window(2).unwrap();
    let mut state = CostBasedState::default();
    let _ = admit(&bucket, &mut state, 10);
    let fresh = bucket.expires_at(&state, Class::default());
    let mean = |now| bucket.stat(&state, Class::default(), now).mean_cost;
    assert_eq!(mean(Timestamp::from_micros(fresh.as_micros() - 1)), ratio(11, 2));
    assert_eq!(mean(fresh), Ratio::ONE);
    assert!(bucket.decide(&mut state, &Hit::new(1), fresh).is_allowed());
    assert_eq!(state.mean, Mean::default());
}

#[test]
fn what_is_charged_or_denied_leaves_the_mean_alone() {
    let bucket = CostBased::new(Rate::per_second(10)).window(2).unwrap();
    let mut state = CostBasedState::default();
    let _ = admit(&bucket, &mut state, 3);
    let before = state;
    bucket.charge(&mut state, &Hit::new(5), START);
    assert!(!bucket.decide(&mut state, &Hit::new(9), START).is_allowed());
    assert_eq!((state.mean, bucket.stat(&state, Class::default(), START).tokens), (before.mean, 2));
}

#[test]
fn a_refund_of_the_last_admission_restores_the_mean_and_an_earlier_one_the_count() {
    let bucket = CostBased::new(Rate::per_second(10)).window(2).unwrap();
    let mut state = CostBasedState::default();
    let first = admit(&bucket, &mut state, 4).receipt();
    let one = state;
    let second = admit(&bucket, &mut state, 1).receipt();
    let mut back = state;
    bucket.refund(&mut back, &Hit::new(1), second, START);
    let stat_of = |state: &CostBasedState| bucket.stat(state, Class::default(), START);
    assert_eq!(stat_of(&back), stat_of(&one));
    bucket.refund(&mut state, &Hit::new(4), first, START);
    assert_eq!((stat_of(&state).tokens, stat_of(&state).mean_cost), (9, ratio(7, 4)));
}

#[test]
fn a_hit_that_repaid_itself_is_not_taken_back() {
    // At a mean of 9 the refill is an eighth of what it is at 1.
    let bucket = CostBased::new(Rate::per_second(8)).burst(10).unwrap().window(1).unwrap();
    let bucket = bucket.floor(ratio(1, 8)).unwrap();
    let mut state = CostBasedState::default();
    let _ = admit(&bucket, &mut state, 9);
    let cheap = admit(&bucket, &mut state, 1).receipt();
    let later = START.plus_micros(1_000_000);
    let before = state;
    bucket.refund(&mut state, &Hit::new(1), cheap, later);
    assert_eq!(state, before);
    let fresh = bucket.expires_at(&state, Class::default());
    bucket.refund(&mut state, &Hit::new(1), cheap, fresh);
    assert_eq!(state, before);
}

#[test]
fn a_late_refund_frees_nothing_of_a_dearer_hit() {
    let bucket = CostBased::new(Rate::per_second(8)).burst(10).unwrap().window(1).unwrap();
    let mut state = CostBasedState::default();
    let cheap = admit(&bucket, &mut state, 1).receipt();
    // It drained at the full rate; what follows drains at half of that.
    let later = START.plus_micros(150_000);
    assert!(bucket.decide(&mut state, &Hit::new(8), later).is_allowed());
    let before = state;
    bucket.refund(&mut state, &Hit::new(1), cheap, later);
    assert_eq!(state, before);
}

#[test]
fn settings_out_of_range_are_refused() {
    let bucket = CostBased::new(Rate::per_second(10));
    assert_eq!(bucket.window(0), Err(StrategyError::EmptyWindow));
    assert_eq!(bucket.floor(ratio(0, 1)), Err(StrategyError::CostBasedFloor(ratio(0, 1))));
    assert_eq!(bucket.floor(ratio(3, 2)), Err(StrategyError::CostBasedFloor(ratio(3, 2))));
    assert!(bucket.floor(Ratio::ONE).is_ok() && bucket.window(1).is_ok());
    assert_eq!(CostBased::new(Rate::per_day(1)).burst(u32::MAX), Err(CapacityError { largest: 208_499 }));
    assert!(CostBased::new(Rate::per_day(1)).burst(208_499).is_ok());
}

#[test]
fn closed_and_unlimited_rates() {
    let closed = CostBased::new(Rate::per_second(0));
    let mut state = CostBasedState::default();
    assert_eq!(closed.decide(&mut state, &Hit::new(1), START).outcome(), Outcome::Never);
    let unlimited = CostBased::new(Rate::UNLIMITED).burst(3).unwrap();
    assert!(unlimited.decide(&mut state, &Hit::new(u32::MAX), START).is_unlimited());
    assert_eq!(unlimited.stat(&state, Class::default(), START).refill, None);
    let wait = CostBased::new(Rate::per_second(1)).max_ttl();
    assert_eq!(Duration::from_micros(wait), Duration::from_secs(2));
}

//! Cases of the quota with rollover beside its properties.

use super::*;

fn minute(minute: u64) -> Timestamp {
    Timestamp::from_micros(minute * 60_000_000)
}

fn ten() -> QuotaRollover {
    QuotaRollover::new(Rate::per_minute(10))
}

/// Defect 19 of the original: a period in which nothing was used rolled nothing over.
#[test]
fn defect_19_an_unused_period_rolls_over_in_full() {
    let mut state = QuotaRolloverState::default();
    assert_eq!(ten().decide(&mut state, &Hit::new(10), minute(0)).remaining(), 5);
    let rollovers = [1, 2, 3, 50].map(|at| ten().stat(&state, Class::default(), minute(at)).rollover);
    assert_eq!(rollovers, [0, 5, 5, 5], "used up, then unused; and nothing adds up");
    assert_eq!(ten().stat(&Default::default(), Class::default(), minute(50)).rollover, 5);
}

#[test]
fn a_maximum_caps_what_rolls_over() {
    let capped = ten().max_rollover(2);
    let mut state = QuotaRolloverState::default();
    assert_eq!(capped.decide(&mut state, &Hit::new(6), minute(0)).remaining(), 6);
    assert_eq!(capped.stat(&state, Class::default(), minute(1)).rollover, 2, "half of 4");
    let _ = capped.decide(&mut state, &Hit::new(1), minute(0));
    assert_eq!(capped.stat(&state, Class::default(), minute(1)).rollover, 1, "half of 3");
    assert_eq!(capped.expires_at(&state, Class::default()), minute(2), "when what was used matters no more");
    assert_eq!(capped.decide(&mut state, &Hit::new(13), minute(0)).outcome(), crate::Outcome::Never);
}

#[test]
fn what_is_taken_back_rolls_over_after_all() {
    let mut state = QuotaRolloverState::default();
    let booked = ten().decide(&mut state, &Hit::new(10), minute(0));
    assert!(ten().decide(&mut state, &Hit::new(1), minute(1)).is_allowed());
    ten().refund(&mut state, &Hit::new(10), booked.receipt(), minute(1));
    let stat = ten().stat(&state, Class::default(), minute(1));
    assert_eq!((stat.used, stat.limit, stat.rollover), (1, 10, 5));
}

#[test]
fn more_than_was_unused_cannot_roll_over() {
    let more = Ratio::new(3, 2).unwrap();
    assert_eq!(ten().share(more), Err(StrategyError::RolloverShare(more)));
    let message = "3/2 of the unused limit cannot roll over; give a share of at most 1, such as 50%";
    assert_eq!(StrategyError::RolloverShare(more).to_string(), message);
    assert_eq!(ten().share(Ratio::ONE).unwrap().quota(0), 20);
}

#[test]
fn a_script_needs_small_numbers() {
    assert_eq!(ten().fits_script(), Ok(()));
    let fine = ten().share(Ratio::new((1 << 53) - 2, (1 << 53) - 1).unwrap()).unwrap();
    assert_eq!(fine.fits_script(), Err(CapacityError { largest: 1 }));
}

#[test]
fn a_quota_beyond_32_bits_is_cut_off() {
    let vast = QuotaRollover::new(Rate::per_minute(u32::MAX)).share(Ratio::ONE).unwrap();
    let mut state = QuotaRolloverState::default();
    let decision = vast.decide(&mut state, &Hit::new(u32::MAX), minute(0));
    assert_eq!((decision.limit(), decision.remaining()), (u32::MAX, 0));
    assert_eq!(vast.stat(&state, Class::default(), minute(1)).rollover, 0);
}

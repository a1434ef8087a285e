//! Cases that the properties of `tests/models` do not cover.

use super::*;
use crate::Outcome;
use crate::strategy::StrategyError;

fn second(second: u64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn ratio(text: &str) -> Ratio {
    text.parse().unwrap()
}

fn hundred() -> Adaptive {
    Adaptive::new(Rate::per_minute(100))
}

/// Checks `hits` hits in each minute, evenly, and returns the effective limit after each minute.
fn minutes(
    limit: Adaptive,
    state: &mut AdaptiveState,
    minutes: core::ops::Range<u64>,
    hits: u64,
) -> Vec<u32> {
    let minute = |minute| {
        for hit in 0..hits {
            let at = Timestamp::from_micros(minute * 60_000_000 + hit * 60_000_000 / hits);
            let _ = limit.decide(state, &Hit::new(1), at);
        }
        limit.stat(state, Class::default(), second((minute + 1) * 60)).effective_limit
    };
    minutes.map(minute).collect()
}

#[test]
fn the_limit_falls_once_per_window_down_to_its_floor() {
    let mut state = AdaptiveState::default();
    assert_eq!(minutes(hundred(), &mut state, 0..5, 400), [60, 36, 30, 30, 30]);
    let stat = hundred().stat(&state, Class::default(), second(299));
    assert_eq!((stat.used, stat.effective_limit, stat.factor), (30, 30, ratio("3/10")));
    assert!(stat.current_load >= ratio("399/100"), "{}", stat.current_load);
}

/// Defect 19 of the original: the limit always ended at its floor.
#[test]
fn defect_19_normal_traffic_recovers_from_the_floor() {
    for normal in [10, 30, 50, 79] {
        let mut state = AdaptiveState::default();
        let _ = minutes(hundred(), &mut state, 0..5, 400);
        let recovering = minutes(hundred(), &mut state, 5..12, normal);
        assert_eq!(recovering, [40, 50, 60, 70, 80, 90, 100], "{normal} a minute");
        assert_eq!(minutes(hundred(), &mut state, 12..40, normal), [100; 28]);
    }
    let mut state = AdaptiveState::default();
    let _ = minutes(hundred(), &mut state, 0..5, 400);
    for minute in 5..12 {
        // Takes all that the limit leaves, at once.
        let left = hundred().stat(&state, Class::default(), second(minute * 60)).effective_limit;
        assert_eq!(u64::from(left), 30 + 10 * (minute - 5));
        let taken = left.min(79);
        assert!(hundred().decide(&mut state, &Hit::new(taken), second(minute * 60)).is_allowed());
    }
}

#[test]
fn silence_recovers_in_full() {
    let mut state = AdaptiveState::default();
    let _ = minutes(hundred(), &mut state, 0..5, 400);
    let expires_at = hundred().expires_at(&state, Class::default());
    assert_eq!(expires_at, second(60 * 12), "0.3 in minute 5, and 0.1 more in each of seven");
    assert!(!hundred().peek(&state, &Hit::new(100), second(60 * 12 - 1)).is_allowed());
    assert!(hundred().peek(&state, &Hit::new(100), expires_at).is_allowed());
}

#[test]
fn a_load_from_outside_reduces_from_the_next_window_on() {
    let pressed = hundred().load(ratio("90%"));
    let mut state = AdaptiveState::default();
    assert!(hundred().decide(&mut state, &Hit::new(1), second(0)).is_allowed());
    assert_eq!(pressed.peek(&state, &Hit::new(0), second(59)).limit(), 100, "not within a window");
    let limits = [60, 120, 180, 240].map(|at| {
        let decision = pressed.decide(&mut state, &Hit::new(1), second(at));
        decision.limit()
    });
    assert_eq!(limits, [60, 36, 30, 30]);
    assert_eq!(hundred().peek(&state, &Hit::new(0), second(300)).limit(), 40, "it has gone");
    assert_eq!(pressed.peek(&AdaptiveState::default(), &Hit::new(0), second(0)).limit(), 60);
    assert_eq!(pressed.peek(&AdaptiveState::default(), &Hit::new(61), second(0)).outcome(), Outcome::Never);
    assert_eq!(pressed.stat(&state, Class::default(), second(300)).current_load, ratio("90%"));
    assert_eq!(hundred().load(ratio("79%")).peek(&state, &Hit::new(0), second(300)).limit(), 40);
}

#[test]
fn a_denial_is_recorded_once_per_window() {
    let mut state = AdaptiveState::default();
    assert!(hundred().decide(&mut state, &Hit::new(50), second(0)).is_allowed());
    let denied = hundred().decide(&mut state, &Hit::new(51), second(30));
    assert!(crate::Verdict::is_dirty(&denied));
    let noted = state;
    assert_eq!(hundred().stat(&state, Class::default(), second(30)).current_load, ratio("101/100"));
    for cost in [51, 100] {
        let again = hundred().decide(&mut state, &Hit::new(cost), second(31));
        assert!(!crate::Verdict::is_dirty(&again) && state == noted);
    }
    assert!(hundred().decide(&mut state, &Hit::new(50), second(31)).is_allowed(), "and takes nothing");
}

#[test]
fn parameters_out_of_range_are_refused() {
    let limit = hundred();
    for (wrong, error) in [
        (limit.threshold(ratio("0")), StrategyError::Threshold(ratio("0"))),
        (limit.threshold(ratio("1000001/1000000")), StrategyError::Threshold(ratio("1000001/1000000"))),
        (limit.reduction(ratio("1")), StrategyError::Reduction(ratio("1"))),
        (limit.recovery(ratio("1/1000001")), StrategyError::Recovery(ratio("1/1000001"))),
        (limit.recovery(ratio("2")), StrategyError::Recovery(ratio("2"))),
        (limit.floor(ratio("2")), StrategyError::AdaptiveFloor(ratio("2"))),
    ] {
        assert_eq!(wrong, Err(error));
    }
    assert_eq!(
        StrategyError::Reduction(ratio("1")).to_string(),
        "the reduction of an adaptive limit is 1; give the factor of the limit, below 1, such as 60%"
    );
    let defaults = limit.threshold(ratio("80%")).unwrap().reduction(ratio("60%")).unwrap();
    assert_eq!(defaults.recovery(ratio("10%")).unwrap().floor(ratio("30%")), Ok(limit));
    let least = limit.floor(ratio("0")).unwrap().reduction(ratio("0")).unwrap();
    assert_eq!(least.load(Ratio::ONE).peek(&Default::default(), &Hit::new(0), second(0)).limit(), 1);
    let closed = Adaptive::new(Rate::per_second(0));
    assert_eq!(closed.peek(&Default::default(), &Hit::new(1), second(0)).outcome(), Outcome::Never);
}

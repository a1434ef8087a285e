//! Cases that the properties of `tests/models` do not cover.

use core::time::Duration;

use super::*;
use crate::strategy::{DecodeError, decode, encode};
use crate::{Hit, Outcome, Verdict};

const A: u32 = 1;
const B: u32 = 2;
const C: u32 = 3;

fn second(second: u64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn class(instance: u32) -> Class {
    Class { instance: Label(instance), ..Class::default() }
}

fn hit(instance: u32, cost: u32) -> Hit {
    Hit::new(cost).with_class(class(instance))
}

/// Checks `times` hits of cost 1 and counts the admitted ones.
fn ask<const N: usize>(
    limit: FairShare<N>,
    state: &mut FairShareState<N>,
    who: u32,
    times: u32,
    at: u64,
) -> u32 {
    (0..times).filter(|_| limit.decide(state, &hit(who, 1), second(at)).is_allowed()).count() as u32
}

/// Defect 18 of the original: with three instances one of them took 89 of 90.
#[test]
fn defect_18_no_instance_takes_the_share_of_another() {
    let limit = FairShare::<8>::new(Rate::per_minute(90));
    let mut state = Default::default();
    assert_eq!(ask(limit, &mut state, A, 89, 0), 89, "nobody else was there");
    assert_eq!([B, C].map(|who| ask(limit, &mut state, who, 10, 30)), [1, 0]);
    for minute in 1..5 {
        let admitted = [A, B, C].map(|who| ask(limit, &mut state, who, 1_000, minute * 60 + 7));
        assert_eq!(admitted, [30, 30, 30]);
    }
}

#[test]
fn a_flood_starves_nobody() {
    let limit = FairShare::<4>::new("10/10s".parse().unwrap());
    let mut state = Default::default();
    for window in 1..50 {
        assert_eq!(ask(limit, &mut state, A, 100, window * 10), 10);
    }
    // B comes late in a window of which A has had everything, and is always behind A from then on.
    assert_eq!(ask(limit, &mut state, B, 1, 499), 0);
    for window in 50..60 {
        assert_eq!(ask(limit, &mut state, A, 100, window * 10), 5);
        assert_eq!(ask(limit, &mut state, B, 100, window * 10 + 9), 5);
    }
}

#[test]
fn a_returning_instance_has_its_share_from_the_next_window_on() {
    let limit = FairShare::<4>::new("10/10s".parse().unwrap());
    let mut state = Default::default();
    assert_eq!(ask(limit, &mut state, A, 100, 10), 10);
    assert_eq!(ask(limit, &mut state, A, 100, 20), 10);
    let denied = limit.decide(&mut state, &hit(B, 5), second(28));
    assert_eq!(denied.retry_after(), Some(Duration::from_secs(2)));
    for start in [30, 40, 50] {
        assert_eq!(ask(limit, &mut state, A, 100, start), 5);
        assert_eq!(ask(limit, &mut state, B, 100, start + 9), 5);
    }
}

#[test]
fn a_denial_is_recorded_once_per_window_and_admits_nothing() {
    let limit = FairShare::<4>::new("10/10s".parse().unwrap());
    let mut state = Default::default();
    let _ = limit.decide(&mut state, &hit(A, 10), second(10));
    for (at, noted) in [(11, true), (12, false), (19, false)] {
        let denied = limit.decide(&mut state, &hit(B, 1), second(at));
        assert_eq!((denied.is_allowed(), denied.is_dirty()), (false, noted), "at {at} s");
    }
    assert!(!limit.decide(&mut state, &hit(B, 11), second(19)).is_dirty(), "Never is no demand");
}

#[test]
fn a_cost_above_the_share_waits_until_demand_has_lapsed() {
    let limit = FairShare::<4>::new("10/10s".parse().unwrap());
    let mut state = Default::default();
    let _ = limit.decide(&mut state, &hit(A, 10), second(10));
    let denied = limit.decide(&mut state, &hit(B, 6), second(13));
    assert_eq!(denied.outcome(), Outcome::Deny { retry_after: Duration::from_secs(17) });
    assert_eq!(denied.reset_after(), Duration::from_secs(17));
    assert!(!limit.peek(&state, &hit(B, 6), second(29)).is_allowed());
    assert!(limit.peek(&state, &hit(B, 6), second(30)).is_allowed());
}

#[test]
fn a_new_weight_counts_from_the_next_window_on() {
    let light = FairShare::<4>::new("90/10s".parse().unwrap());
    let heavy = light.weight(8).unwrap();
    let mut state = Default::default();
    let both = |state: &mut _, at, first| (ask(first, state, A, 100, at), ask(light, state, B, 100, at));
    assert_eq!(both(&mut state, 10, light), (90, 0));
    assert_eq!(both(&mut state, 20, light), (45, 45));
    assert_eq!(both(&mut state, 30, heavy), (45, 45));
    assert_eq!(both(&mut state, 40, heavy), (80, 10));
    let stat = heavy.stat(&state, class(A), second(49));
    assert_eq!((stat.share, stat.usage, stat.total_usage, stat.weight), (80, 80, 90, 8));
    assert_eq!((stat.window_start, stat.window_end), (second(40), second(50)));
    assert_eq!(light.weight(0), Err(StrategyError::ZeroWeight));
}

#[test]
fn an_instance_without_room_shares_a_row_until_it_falls_silent() {
    let limit = FairShare::<1>::new("10/10s".parse().unwrap());
    let mut state = Default::default();
    let all = |state: &mut _, at| [A, B, C].map(|who| ask(limit, state, who, 100, at));
    assert_eq!(all(&mut state, 10), [10, 0, 0]);
    assert_eq!(all(&mut state, 20), [5, 5, 0], "B and C count as one");
    assert_eq!(limit.stat(&state, class(C), second(20)).instance, None);
    // A is gone. The room is free, but demand stays with the row that has it.
    assert_eq!(ask(limit, &mut state, C, 100, 30), 5);
    assert_eq!(ask(limit, &mut state, C, 100, 40), 10);
    assert_eq!(limit.stat(&state, class(C), second(50)).instance, None);
    assert_eq!(limit.stat(&state, class(C), second(60)).instance, Some(Label(C)));
}

#[test]
fn a_smaller_limit_grants_nothing() {
    let limit = FairShare::<4>::new("100/10s".parse().unwrap());
    let smaller = FairShare::<4>::new("50/10s".parse().unwrap());
    let mut state = Default::default();
    let _ =
        (limit.decide(&mut state, &hit(A, 1), second(5)), limit.decide(&mut state, &hit(B, 1), second(5)));
    assert!(limit.decide(&mut state, &hit(A, 40), second(10)).is_allowed());
    let denied = smaller.decide(&mut state, &hit(B, 11), second(10));
    assert_eq!((denied.is_allowed(), denied.remaining()), (false, 10), "25 are B's, but 40 are gone");
}

#[test]
fn bytes_that_no_state_writes_are_refused() {
    let limit = FairShare::<2>::new(Rate::per_second(5));
    let mut state = FairShareState::<2>::default();
    let _ =
        (limit.decide(&mut state, &hit(A, 1), second(1)), limit.decide(&mut state, &hit(B, 9), second(1)));
    let mut buffer = [0; 48];
    let _ = limit.decide(&mut state, &hit(B, 5), second(1));
    let length = encode(&state, &mut buffer).unwrap();
    assert_eq!(length, 1 + 8 + 9 + 4 + 2 * 13);
    assert_eq!(decode(&buffer[..length]), Ok(state));
    let refused = |at: usize, value: u8| {
        let mut bytes = buffer;
        bytes[at] = value;
        assert_eq!(decode::<FairShareState<2>>(&bytes[..length]), Err(DecodeError), "{value} at {at}");
    };
    refused(0, tags::REGIONS);
    refused(9, 1); // used without demand
    refused(15, 1); // demand without use or denial
    refused(17, 2); // neither denied nor not
    refused(18, 3); // more rows than there are
    refused(18, 1);
    refused(35, A as u8); // a label twice
}

//! Cases that the properties of `tests/models` do not cover.

use core::time::Duration;

use super::*;
use crate::{FixedWindow, Gcra, Label, Outcome, Priority, Rate, Tiered, TokenBucket};

const HOUR: u64 = DAY / 24;

fn hour(hour: u64) -> Timestamp {
    Timestamp::from_micros(DAY * 20_000 + hour * HOUR)
}

fn night(ratio: &str) -> [Hours; 1] {
    [Hours::new((22, 0), (6, 0), ratio.parse().unwrap())]
}

#[test]
fn what_drains_does_so_at_the_rate_of_its_hours() {
    let limit = TimeOfDay::new(TokenBucket::new(Rate::per_day(48)), night("1/2")).unwrap();
    let mut state = Default::default();
    assert!(limit.decide(&mut state, &Hit::new(48), hour(20)).is_allowed());
    // 2 an hour until 22:00, then 1 an hour, then 2 again; at night the bucket holds 24.
    let used = |at| 48 - limit.stat(&state, Class::default(), hour(at)).inner.tokens;
    assert_eq!([used(21), used(30), used(31), used(45)], [46, 36, 34, 6]);
    let tokens = |at| limit.stat(&state, Class::default(), hour(at)).inner.tokens;
    assert_eq!([tokens(22), tokens(29)], [24 - 44, 24 - 37]);
    assert_eq!(limit.expires_at(&state, Class::default()), hour(50), "4 left at 22:00, 1 an hour");
    assert_eq!(
        limit.peek(&state, &Hit::new(20), hour(20)).retry_after(),
        Some(Duration::from_secs(14 * 3600)),
        "used 36 by 06:00, 28 by 10:00"
    );
}

#[test]
fn slow_limits_drain_although_their_ratio_changes_often() {
    // Rounded to whole costs at every change of ratio, 3 a month would never drain.
    let limit = TimeOfDay::new(TokenBucket::new("3/31d".parse().unwrap()), night("1/3")).unwrap();
    let mut state = Default::default();
    assert!(limit.decide(&mut state, &Hit::new(3), hour(6)).is_allowed());
    let day = 3 * 16 + 8;
    let reset = limit.expires_at(&state, Class::default()).since(hour(6));
    let days = reset.as_secs() / 86_400;
    assert_eq!(days, 31 * 24 * 3 / day);
}

/// Hours of a slice decide as those of an array, whatever room there is beside them.
#[test]
fn room_for_more_hours_changes_nothing() {
    let bucket = TokenBucket::new(Rate::per_day(48));
    for hours in [[((12, 0), (13, 0))], [((22, 0), (6, 0))], [((0, 0), (24, 0))]] {
        let [(from, to)] = hours;
        let hours = [Hours::new(from, to, "1/2".parse().unwrap())];
        let (exact, roomy) = (TimeOfDay::new(bucket, hours), TimeOfDay::<_, 6>::from_slice(bucket, &hours));
        let (exact, roomy) = (exact.unwrap(), roomy.unwrap());
        let (mut one, mut other) = (Default::default(), Default::default());
        let mut at = 0;
        for (after, cost) in
            [(5, 20), (19, 40), (0, 60), (3, 9), (24, 10), (1, 3), (30, 25), (2, 1)].repeat(9)
        {
            at += after;
            let hit = Hit::new(cost);
            assert_eq!(exact.decide(&mut one, &hit, hour(at)), roomy.decide(&mut other, &hit, hour(at)));
            assert_eq!(one, other);
            assert_eq!(exact.expires_at(&one, hit.class), roomy.expires_at(&other, hit.class));
        }
        let parts = |limit: &dyn Fn(&mut dyn FnMut(ScriptLimit)) -> bool| {
            let mut parts = Vec::new();
            assert!(limit(&mut |part| parts.push(format!("{part:?}"))));
            parts
        };
        let hit = Hit::new(3);
        assert_eq!(parts(&|visit| exact.parts_of(&hit, visit)), parts(&|visit| roomy.parts_of(&hit, visit)));
        assert_eq!((exact.max_ttl(), exact.denominator()), (roomy.max_ttl(), roomy.denominator()));
    }
    let half = [Hours::new((0, 0), (24, 0), "1/2".parse().unwrap())];
    let all_day = TimeOfDay::<_, 6>::from_slice(FixedWindow::new(Rate::per_minute(10)), &half).unwrap();
    assert_eq!(all_day.peek(&Default::default(), &Hit::new(8), hour(3)).outcome(), Outcome::Never);
}

#[test]
fn a_fresh_key_waits_for_hours_in_which_its_cost_fits() {
    let limit = TimeOfDay::new(FixedWindow::new(Rate::per_minute(10)), night("1/2")).unwrap();
    let outcome = |cost| limit.peek(&Default::default(), &Hit::new(cost), hour(23)).outcome();
    assert!(outcome(5).is_allowed());
    assert_eq!(outcome(6), Outcome::Deny { retry_after: Duration::from_secs(7 * 3600) });
    assert_eq!(outcome(11), Outcome::Never);
}

#[test]
fn the_stat_shows_the_local_hour() {
    let limit = TimeOfDay::new(Gcra::new(Rate::per_minute(10)), night("1/2")).unwrap();
    let stat = |offset, at| {
        let limit = limit.utc_offset(offset).unwrap();
        let stat = limit.stat(&Default::default(), Class::default(), hour(at));
        (stat.hour, stat.ratio.to_string(), stat.effective_limit)
    };
    assert_eq!(stat(0, 23), (23, "1/2".into(), 1));
    assert_eq!(stat(330, 23), (4, "1/2".into(), 1));
    assert_eq!(stat(-90, 0), (22, "1/2".into(), 1));
    assert_eq!(stat(60, 21), (22, "1/2".into(), 1));
    assert_eq!(stat(600, 23), (9, "1".into(), 1));
}

#[test]
fn limits_too_slow_to_follow_are_refused() {
    let yearly = TokenBucket::new(Rate::new(9, Duration::from_micros(DAY * 365)).unwrap());
    assert!(TimeOfDay::new(yearly, night("1/3")).is_ok());
    assert_eq!(TimeOfDay::new(yearly, night("1/20")).unwrap_err(), StrategyError::TooSlow);
    let closed = TokenBucket::new(Rate::per_day(0));
    assert!(TimeOfDay::new(closed, night("1/9")).is_ok());
    assert_eq!(TimeOfDay::new(closed.burst(1).unwrap(), night("1/9")).unwrap_err(), StrategyError::TooSlow);
    let monthly =
        TimeOfDay::new(Gcra::new("90/30d".parse().unwrap()).burst(900).unwrap(), night("1/2")).unwrap();
    assert_eq!(monthly.scaled(Ratio::new(1, 9).unwrap()).unwrap_err(), CapacityError { largest: 456 });
    let vast = Gcra::new("1000000/31d".parse().unwrap()).burst(100_000_000).unwrap();
    let error = TimeOfDay::new(vast, night("999999/1000000")).unwrap_err();
    assert_eq!(error, StrategyError::Capacity(CapacityError { largest: 6_887_225 }));
}

#[test]
fn a_key_charged_beyond_its_limit_forgets_it_after_thirty_years() {
    let limit = TimeOfDay::new(TokenBucket::new(Rate::per_day(1)), night("1/2")).unwrap();
    let mut state = Default::default();
    limit.charge(&mut state, &Hit::new(u32::MAX), hour(0));
    assert_eq!(limit.expires_at(&state, Class::default()), hour(24 * 10_958));
    let before = Timestamp::from_micros(hour(24 * 10_958).as_micros() - 1);
    assert!(!limit.peek(&state, &Hit::new(1), before).is_allowed());
    assert_eq!(limit.peek(&state, &Hit::new(1), before).reset_after(), Duration::from_micros(1));
    assert!(limit.peek(&state, &Hit::new(1), hour(24 * 10_958)).is_allowed());
    assert_eq!(
        limit.peek(&state, &Hit::new(1), hour(0)).retry_after(),
        Some(hour(24 * 10_958).since(hour(0)))
    );
}

#[test]
fn wrappers_nest_in_any_order() {
    let bucket = TokenBucket::new(Rate::per_hour(100));
    let tiers = [(Label(1), Ratio::ONE), (Label(2), "7/3".parse().unwrap())];
    let reserves = [(Label(1), "1/2".parse().unwrap())];
    let priority = Priority::new(bucket, reserves).unwrap();
    let outer = Tiered::new(TimeOfDay::new(priority, night("1/3")).unwrap(), tiers).unwrap();
    let inner = TimeOfDay::new(Tiered::new(priority, tiers).unwrap(), night("1/3")).unwrap();
    let mut class = Class { tier: Label(2), ..Class::default() };
    for (at, expected) in [(12, 233), (23, 77)] {
        let limit = |class| {
            let hit = Hit::new(0).with_class(class);
            let of = (
                outer.peek(&Default::default(), &hit, hour(at)),
                inner.peek(&Default::default(), &hit, hour(at)),
            );
            (of.0.limit(), of.1.limit())
        };
        class.priority = Label(0);
        assert_eq!(limit(class), (expected, expected));
        class.priority = Label(1);
        assert_eq!(limit(class), (expected - expected / 2, expected - expected / 2));
    }
}

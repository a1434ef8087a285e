//! Cases of regions beside their properties.

use core::time::Duration;

use super::*;
use crate::{Hit, Verdict};

const WEST: Label = Label(1);
const EAST: Label = Label(2);
const ELSEWHERE: Label = Label(9);

fn ratio(text: &str) -> Ratio {
    text.parse().unwrap()
}

fn second(second: u64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn hit(region: Label, cost: u32) -> Hit {
    Hit::new(cost).with_class(Class { region, ..Class::default() })
}

fn regions(rate: &str, shares: &[(Label, &str)]) -> Result<Regions<3>, StrategyError> {
    let mut named = [(Label(0), Ratio::ONE); 4];
    named.iter_mut().zip(shares).for_each(|(slot, (label, share))| *slot = (*label, ratio(share)));
    Regions::new(rate.parse().unwrap(), &named[..shares.len()])
}

/// Checks `times` hits of cost 1 and counts the admitted ones.
fn ask(limit: Regions<3>, state: &mut RegionsState<3>, who: Label, times: u32, at: u64) -> u32 {
    (0..times).filter(|_| limit.decide(state, &hit(who, 1), second(at)).is_allowed()).count() as u32
}

/// Defect 18 of the original: regional shares leaked, 70 and 65 were admitted of 100 shared.
#[test]
fn defect_18_regional_shares_do_not_leak() {
    let limit = regions("100/min", &[(WEST, "60%"), (EAST, "30%")]).unwrap();
    let all = |limit, state: &mut _, at| [WEST, EAST, ELSEWHERE].map(|who| ask(limit, state, who, 200, at));
    let mut state = Default::default();
    for minute in 1..4 {
        assert_eq!(all(limit, &mut state, minute * 60), [60, 30, 10]);
    }
    let (limit, mut state) = (limit.spill(true), Default::default());
    assert_eq!(all(limit, &mut state, 60), [100, 0, 0], "nobody else was there before");
    for minute in 2..5 {
        assert_eq!(all(limit, &mut state, minute * 60), [60, 30, 10]);
    }
}

#[test]
fn a_flood_from_one_region_starves_no_other() {
    let limit = regions("10/10s", &[(WEST, "1/2"), (EAST, "1/2")]).unwrap().spill(true);
    let mut state = Default::default();
    for window in 1..20 {
        assert_eq!(ask(limit, &mut state, WEST, 100, window * 10), 10);
    }
    let denied = limit.decide(&mut state, &hit(EAST, 5), second(197));
    assert_eq!((denied.retry_after(), denied.is_dirty()), (Some(Duration::from_secs(3)), true));
    for start in [200, 210] {
        assert_eq!(ask(limit, &mut state, WEST, 100, start), 5);
        assert_eq!(ask(limit, &mut state, EAST, 100, start + 9), 5);
    }
    // The east falls silent: its share is lent from the second window on.
    assert_eq!(ask(limit, &mut state, WEST, 100, 220), 5);
    assert_eq!(ask(limit, &mut state, WEST, 100, 230), 10);
}

#[test]
fn what_belongs_to_nobody_is_lent_only_with_spill_over() {
    let limit = regions("10/10s", &[(WEST, "1/2")]).unwrap().other(ratio("1/5")).unwrap();
    let fill = |limit| {
        let mut state = Default::default();
        let _ = [10, 20].map(|at| [WEST, ELSEWHERE].map(|who| ask(limit, &mut state, who, 100, at)));
        [WEST, ELSEWHERE].map(|who| ask(limit, &mut state, who, 100, 30))
    };
    assert_eq!(fill(limit), [5, 2]);
    assert_eq!(fill(limit.spill(true)), [8, 2]);
}

#[test]
fn without_spill_over_a_denial_is_not_recorded() {
    let limit = regions("10/10s", &[(WEST, "1/2")]).unwrap();
    let mut state = Default::default();
    let _ = limit.decide(&mut state, &hit(WEST, 5), second(10));
    let before = state;
    let denied = limit.decide(&mut state, &hit(WEST, 1), second(12));
    assert_eq!((denied.is_dirty(), state == before), (false, true));
    assert_eq!((denied.retry_after(), denied.reset_after().as_secs()), (Some(Duration::from_secs(8)), 8));
}

#[test]
fn a_region_no_longer_named_stays_counted() {
    let limit = regions("10/10s", &[(WEST, "1/2"), (EAST, "1/5")]).unwrap();
    let mut state = Default::default();
    assert_eq!([WEST, EAST].map(|who| ask(limit, &mut state, who, 100, 10)), [5, 2]);
    let reloaded = regions("10/10s", &[(EAST, "1/5")]).unwrap();
    assert_eq!([WEST, ELSEWHERE, EAST].map(|who| ask(reloaded, &mut state, who, 100, 11)), [3, 0, 0]);
    let stat = reloaded.stat(&state, Class { region: WEST, ..Class::default() }, second(12));
    assert_eq!((stat.region, stat.share, stat.reserved, stat.usage, stat.total_usage), (None, 8, 8, 8, 10));
}

#[test]
fn shares_that_cannot_be_are_refused() {
    let refused = |rate, shares| regions(rate, shares).unwrap_err();
    assert!(regions("10/s", &[(WEST, "1/3"), (EAST, "1/3"), (ELSEWHERE, "1/3")]).is_ok());
    assert_eq!(refused("10/s", &[(WEST, "2/3"), (EAST, "34%")]), StrategyError::SharesAboveOne);
    assert_eq!(
        refused("10/s", &[(WEST, "1/2"), (WEST, "1/4")]),
        StrategyError::DuplicateRegion { region: WEST }
    );
    assert_eq!(refused("10/s", &[(WEST, "9%")]), StrategyError::ZeroShare { region: Some(WEST) });
    assert_eq!(refused("10/s", &[(WEST, "0")]), StrategyError::ZeroShare { region: Some(WEST) });
    assert_eq!(refused("10/s", &[(WEST, "1/8"); 4]), StrategyError::TooManyRegions { most: 3 });
    let odd = [(WEST, "1/18446744073709551557"), (EAST, "1/4294967311")];
    assert_eq!(refused("4294967295/s", &odd), StrategyError::NoCommonDenominator);
    let most = regions("10/s", &[(WEST, "9/10")]).unwrap();
    assert_eq!(most.other(ratio("1/5")), Err(StrategyError::SharesAboveOne));
    assert_eq!(most.other(ratio("1/11")), Err(StrategyError::ZeroShare { region: None }));
    assert!(regions("0/s", &[(WEST, "1/2")]).is_ok(), "a limit that admits nothing is divided into nothing");
}

#[test]
fn a_scaled_limit_scales_its_shares() {
    let limit = regions("10/10s", &[(WEST, "1/2"), (EAST, "1/5")]).unwrap().scaled(ratio("1/3")).unwrap();
    let shares = [WEST, EAST, ELSEWHERE].map(|who| limit.fixed_share(Some(who)));
    assert_eq!(shares, [1, 0, 2]);
    assert_eq!(
        limit.decide(&mut Default::default(), &hit(EAST, 1), second(0)).outcome(),
        crate::Outcome::Never
    );
}

//! The strategies that share one limit: every law, an exact model, and what members are promised.

use core::time::Duration;
use std::collections::HashMap;

use crate::model::Answer;
use crate::model::runs::config;
use crate::model::shares::{FairRule, RegionRule, Rule, SharesModel};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use traffik::laws::{self, Step};
use traffik::storage::{Fixed, WhenFull};
use traffik::strategy::{Bounds, Regions};
use traffik::{
    All, Class, Decision, FairShare, Hit, Label, ManualClock, Outcome, Rate, Ratio, Scale, Strategy,
    Timestamp, TokenBucket, Verdict,
};

fn rates() -> impl Generator<Value = Rate> {
    let known = ["3/s", "7/min", "99991/day", "5/2900ms", "1/us", "10/3us", "1000/500ms", "0/s"];
    let any = (1u32..200, 1u64..200_000_000)
        .prop_map(|(limit, micros)| Rate::new(limit, Duration::from_micros(micros)).unwrap());
    let wild = (0u32.., 1u64..(1 << 53))
        .prop_map(|(limit, micros)| Rate::new(limit, Duration::from_micros(micros)).unwrap());
    prop_oneof![
        4 => proptest::sample::select(known.to_vec()).prop_map(|text| text.parse().unwrap()),
        8 => any,
        1 => wild,
        1 => Just(Rate::UNLIMITED),
    ]
}

/// Hits of several members, most of them within a few windows of each other; if `hostile`, with steps back and
/// the ends of time too.
fn runs(rate: Rate, members: u32, hostile: bool) -> impl Generator<Value = Vec<Step>> {
    let (period, limit) = (rate.period().as_micros() as u64, rate.limit());
    let start =
        prop_oneof![8 => 0..4_102_444_800_000_000u64, 1 => Just(0), u32::from(hostile) => Just(u64::MAX - 1)];
    let gap = prop_oneof![
        8 => Just(0i128),
        8 => 0..=i128::from(period / 2 + 1),
        4 => 0..=i128::from(period) * 3 + 2,
        2 * u32::from(hostile) => -i128::from(period) * 3 - 2..=0,
        u32::from(hostile) => any::<i64>().prop_map(i128::from),
    ];
    let cost = prop_oneof![
        4 => Just(1u32),
        8 => 0..=limit.min(1_000_000) / 2 + 1,
        4 => 0..=limit.saturating_add(1),
        1 => any::<u32>(),
    ];
    (start, proptest::collection::vec((gap, cost, 0..members), 1..40)).prop_map(|(start, steps)| {
        let mut now = i128::from(start);
        let step = |(gap, cost, member): (i128, u32, u32)| {
            now = (now + gap).clamp(0, i128::from(u64::MAX));
            Step { class: class(member), ..Step::new(Timestamp::from_micros(now as u64), cost) }
        };
        steps.into_iter().map(step).collect()
    })
}

/// The same number names an instance and a region.
fn class(member: u32) -> Class {
    let mut class = Class::default();
    class.instance = Label(member);
    class.region = Label(member);
    class
}

/// Regions 0, 1 and 2 with these parts out of the sum of all five, if that comes to something; the fourth is that
/// of all others, the fifth nobody's.
fn regions(rate: Rate, parts: [u64; 5], spill: bool) -> (Regions<4>, RegionRule) {
    let all: u64 = parts.iter().sum();
    let ratio = |part| Ratio::new(part, all).unwrap();
    let share = |part| u64::from(rate.limit()) * part / all;
    let [_, _, _, other, rest] = parts;
    let named: Vec<(u32, u64)> = (0..3).zip(parts).filter(|(_, part)| share(*part) > 0).collect();
    let ratios: Vec<(Label, Ratio)> =
        named.iter().map(|(label, part)| (Label(*label), ratio(*part))).collect();
    let limit = Regions::new(rate, &ratios).unwrap().spill(spill);
    let shares: Vec<(u32, u64)> = named.iter().map(|(label, part)| (*label, share(*part))).collect();
    let left = u64::from(rate.limit()) - shares.iter().map(|(_, share)| share).sum::<u64>();
    match rest {
        1.. if share(other) > 0 => {
            (limit.other(ratio(other)).unwrap(), RegionRule { rate, shares, other: share(other), spill })
        }
        _ => (limit, RegionRule { rate, shares, other: left, spill }),
    }
}

fn parts() -> impl Generator<Value = [u64; 5]> {
    [1..20u64, 1..20u64, 1..20u64, 0..20u64, 0..3u64]
}

/// All that holds for one strategy.
fn lawful<S: Bounds + Scale>(strategy: &S, forward: &[Step], any: &[Step]) -> Result<(), TestCaseError> {
    let check =
        |held: Result<(), laws::BrokenLaw>| held.map_err(|broken| TestCaseError::fail(broken.to_string()));
    check(laws::every(strategy, forward))?;
    check(laws::every(strategy, any))?;
    check(laws::advance_is_invisible(strategy, forward))?;
    let fixed = Fixed::<S, _, 4>::new(ManualClock::default(), 42).when_full(WhenFull::Refuse);
    check(laws::storage_agrees(strategy, &fixed, "key", forward))
}

fn changeable<S: Bounds>(strategy: &S, other: &S, run: &[Step]) -> Result<(), TestCaseError> {
    laws::limit_may_change(strategy, other, run).map_err(|broken| TestCaseError::fail(broken.to_string()))
}

fn answer(decision: &Decision) -> Answer {
    Answer {
        outcome: decision.outcome(),
        remaining: decision.remaining(),
        reset_after: decision.reset_after(),
    }
}

/// The weight of each member: of 5, some are equal and one is heavy.
const WEIGHTS: [u16; 5] = [1, 1, 2, 7, 65_535];

/// Decisions are those of the model. `weigh` gives the limit as the member sees it, and the weight it sees.
fn as_the_model<S: Bounds, R: Rule>(
    weigh: impl Fn(usize, &Step) -> (S, u16),
    rule: R,
    run: &[Step],
) -> Result<(), TestCaseError> {
    let (mut state, mut model) = (S::State::default(), SharesModel::new(rule));
    for (at, step) in run.iter().enumerate() {
        let (limit, weight) = weigh(at, step);
        let hit = Hit::new(step.cost).with_class(step.class);
        let decision = limit.decide(&mut state, &hit, step.at);
        let expected =
            model.decide(step.at.as_micros().into(), step.class.instance.0, weight.into(), step.cost);
        prop_assert_eq!(answer(&decision), expected, "at {}", step.at);
    }
    Ok(())
}

/// Everyone asks for 1 at a time, in any order, over and over in each window: exactly so much passes.
///
/// Tells what was admitted to each member in each window.
fn contend<S: Bounds>(
    limits: &[S],
    period: u64,
    windows: &[Vec<(usize, u32)>],
) -> Vec<HashMap<usize, (u32, u32)>> {
    let mut state = S::State::default();
    let ask = |(window, asks): (usize, &Vec<(usize, u32)>)| {
        let mut tally = HashMap::new();
        for (at, (who, times)) in asks.iter().enumerate() {
            let now = Timestamp::from_micros(window as u64 * period + (at as u64).min(period - 1));
            for _ in 0..*times {
                let hit = Hit::new(1).with_class(class(*who as u32));
                let decision = limits[*who].decide(&mut state, &hit, now);
                let (asked, admitted) = tally.entry(*who).or_insert((0, 0));
                *asked += 1;
                *admitted += u32::from(decision.is_allowed());
            }
        }
        tally
    };
    windows.iter().enumerate().map(ask).collect()
}

/// The demand of each of 4 members in each of some windows.
fn asks() -> impl Generator<Value = Vec<Vec<(usize, u32)>>> {
    proptest::collection::vec(proptest::collection::vec((0usize..4, 1u32..120), 0..8), 2..8)
}

/// Holds a run of contenders against what they are promised, given the share of a member in a window whose
/// predecessor had demand from these.
fn kept_promises(
    tallies: &[HashMap<usize, (u32, u32)>],
    limit: u32,
    share: impl Fn(usize, &[usize]) -> u32,
) -> Result<(), TestCaseError> {
    let mut before: Vec<usize> = Vec::new();
    for tally in tallies {
        let shares = |who: usize| if before.contains(&who) { share(who, &before) } else { 0 };
        let total: u32 = tally.values().map(|(_, admitted)| admitted).sum();
        prop_assert!(total <= limit, "{} of {} were admitted", total, limit);
        for (who, (asked, admitted)) in tally {
            prop_assert!(
                *admitted >= shares(*who).min(*asked),
                "{} got {} of its {}",
                who,
                admitted,
                shares(*who)
            );
        }
        // A denied member left nothing that it might have had: all but the rest that others leave of their
        // shares.
        let left: u32 =
            before.iter().map(|who| shares(*who).saturating_sub(tally.get(who).map_or(0, |it| it.1))).sum();
        let asked: u32 = tally.values().map(|(asked, _)| asked).sum();
        let is_denied = tally.values().any(|(asked, admitted)| asked > admitted);
        prop_assert_eq!(total, if is_denied { limit - left } else { asked });
        before = tally.keys().copied().collect();
        before.sort_unstable();
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn fair_share_is_lawful((rate, forward, any) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, 5, false), runs(rate, 5, true)))) {
        lawful(&FairShare::<8>::new(rate), &forward, &any)?;
        lawful(&FairShare::<2>::new(rate).weight(9).unwrap(), &forward, &any)?;
        lawful(&FairShare::<0>::new(rate), &forward, &any)?;
    }

    #[test]
    fn fair_share_is_changeable((rate, other, forward, any) in (rates(), rates()).prop_flat_map(|(rate, other)| (Just(rate), Just(other), runs(rate, 1, false), runs(rate, 1, true)))) {
        let (limit, other) = (FairShare::<3>::new(rate), FairShare::<3>::new(other));
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn regions_are_lawful(
        (rate, forward, any) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, 5, false), runs(rate, 5, true))),
        parts in parts(),
        spill: bool,
    ) {
        let (limit, _) = regions(rate, parts, spill);
        lawful(&limit, &forward, &any)?;
    }

    #[test]
    fn regions_are_changeable(
        (rate, other, forward, any) in (rates(), rates()).prop_flat_map(|(rate, other)| (Just(rate), Just(other), runs(rate, 1, false), runs(rate, 1, true))),
        parts in [parts(), parts()],
        spill: [bool; 2],
    ) {
        let ((limit, named), (other, renamed)) = (regions(rate, parts[0], spill[0]), regions(other, parts[1], spill[1]));
        let unnamed = Regions::<4>::new(other.rate(), &[]).unwrap().spill(spill[1]);
        let asks_for_itself = |rule: &RegionRule| rule.shares.first().is_some_and(|(label, _)| *label == 0);
        // The use of a region while it was not named cannot be separated from that of others.
        if asks_for_itself(&renamed) && !asks_for_itself(&named) {
            return Ok(());
        }
        for run in [&forward, &any] {
            changeable(&limit, &other, run)?;
            changeable(&limit, &unnamed, run)?;
        }
    }

    #[test]
    fn fair_share_is_its_model(
        (rate, run) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, 5, false))),
        turn in 0usize..6,
    ) {
        let weigh = |at: usize, step: &Step| {
            // From time to time a member has another weight.
            let member = step.class.instance.0 as usize + if turn > 0 && at.is_multiple_of(turn * 4) { 1 } else { 0 };
            WEIGHTS[member % WEIGHTS.len()]
        };
        let fair = |room| FairRule { rate, room };
        as_the_model(|at, step| (FairShare::<5>::new(rate).weight(weigh(at, step)).unwrap(), weigh(at, step)), fair(5), &run)?;
        as_the_model(|at, step| (FairShare::<2>::new(rate).weight(weigh(at, step)).unwrap(), weigh(at, step)), fair(2), &run)?;
    }

    #[test]
    fn regions_are_their_model(
        (rate, run) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, 5, false))),
        parts in parts(),
        spill: bool,
    ) {
        let (limit, rule) = regions(rate, parts, spill);
        as_the_model(|_, _| (limit, 1), rule, &run)?;
    }

    #[test]
    fn every_instance_gets_its_share_and_all_together_the_limit(windows in asks(), limit in 1u32..150) {
        let rate = Rate::new(limit, Duration::from_micros(1000)).unwrap();
        let limits = [0, 1, 2, 3].map(|who| FairShare::<4>::new(rate).weight(WEIGHTS[who]).unwrap());
        let share = |who: usize, before: &[usize]| {
            let all: u32 = before.iter().map(|who| u32::from(WEIGHTS[*who])).sum();
            limit * u32::from(WEIGHTS[who]) / all
        };
        kept_promises(&contend(&limits, 1000, &windows), limit, share)?;
    }

    #[test]
    fn every_region_gets_its_share_and_all_together_the_limit(windows in asks(), limit in 20u32..150, parts in [1..4u64, 1..4u64, 1..4u64, 0..4u64, 0..3u64]) {
        let rate = Rate::new(limit, Duration::from_micros(1000)).unwrap();
        for spill in [true, false] {
            let (limited, rule) = regions(rate, parts, spill);
            let share = |who: usize| rule.shares.get(who).map_or(rule.other, |(_, share)| *share) as u32;
            let tallies = contend(&[limited; 4], 1000, &windows);
            if spill {
                kept_promises(&tallies, limit, |who, _| share(who))?;
            } else {
                for (who, (asked, admitted)) in tallies.iter().flatten() {
                    prop_assert_eq!(*admitted, share(*who).min(*asked), "region {}", who);
                }
            }
        }
    }

    /// A member that obeys gets its promised share, also when all others ask without a pause.
    #[test]
    fn a_flood_breaks_no_promise(limit in 25u32..200, rest in 1..=1000u64, weights in [1u16..9, 1u16..9, 1u16..9], cost: u32) {
        let rate = Rate::new(limit, Duration::from_micros(1000)).unwrap();
        let [a, b, c] = weights.map(|weight| FairShare::<4>::new(rate).weight(weight).unwrap());
        let share = limit * u32::from(weights[1]) / weights.iter().map(|weight| u32::from(*weight)).sum::<u32>();
        let cost = 1 + cost % share;
        let mut state = Default::default();
        let mut flood = |at, first: Option<u32>| {
            let decision = first.map(|cost| b.decide(&mut state, &Hit::new(cost).with_class(class(1)), at));
            for (limit, who) in [(a, 0), (c, 2)] {
                for _ in 0..=rate.limit() {
                    let _ = limit.decide(&mut state, &Hit::new(1).with_class(class(who)), at);
                }
            }
            decision
        };
        let now = Timestamp::from_micros(2000 - rest);
        flood(Timestamp::from_micros(0), None);
        flood(now, None);
        let denied = flood(now, Some(cost)).unwrap();
        prop_assert_eq!(denied.outcome(), Outcome::Deny { retry_after: Duration::from_micros(rest) });
        let then = now + denied.retry_after().unwrap();
        flood(then, None);
        prop_assert!(flood(then, Some(cost)).unwrap().is_allowed());
    }

    /// The laws that hold for any composition hold where demand is recorded.
    #[test]
    fn compositions_are_lawful(
        (rate, forward, any) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, 4, false), runs(rate, 4, true))),
        other in rates(),
        parts in parts(),
    ) {
        let pair = (FairShare::<3>::new(rate), (TokenBucket::new(other), regions(rate, parts, true).0));
        let all = All([FairShare::<2>::new(rate), FairShare::<2>::new(other)]);
        let check = |held: Result<(), laws::BrokenLaw>| held.map_err(|broken| TestCaseError::fail(broken.to_string()));
        for run in [&forward, &any] {
            check(laws::pure(&pair, run))?;
            check(laws::denial_is_free(&pair, run))?;
            check(laws::waits_are_exact(&pair, run))?;
            check(laws::expiry_is_invisible(&pair, run))?;
            check(laws::codec_round_trips(&pair, run))?;
            check(laws::pure(&all, run))?;
            check(laws::denial_is_free(&all, run))?;
            check(laws::waits_are_exact(&all, run))?;
            check(laws::codec_round_trips(&all, run))?;
        }
        let fixed = Fixed::<_, _, 4>::new(ManualClock::default(), 42).when_full(WhenFull::Refuse);
        check(laws::storage_agrees(&pair, &fixed, "key", &forward))?;
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        small in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), 0..4u8], 0..60),
        (rate, run) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, 4, true))),
        parts in parts(),
    ) {
        for mut bytes in [bytes, small] {
            let fair = FairShare::<2>::new(rate);
            let region = regions(rate, parts, bytes.len().is_multiple_of(2)).0;
            for tag in [0x51, 0x52] {
                if let Some(first) = bytes.first_mut() {
                    *first = tag;
                }
                // Every length a state can have.
                for length in [22, 22 + 13, 22 + 2 * 13, bytes.len()] {
                    let bytes = &bytes[..length.min(bytes.len())];
                    prop_assert_eq!(laws::any_bytes_decode_or_are_refused(&fair, bytes, &run), Ok(()));
                    prop_assert_eq!(laws::any_bytes_decode_or_are_refused(&region, bytes, &run), Ok(()));
                }
            }
        }
    }
}

#[test]
fn a_denial_is_written_to_a_store_once() {
    let limit = FairShare::<2>::new("1/s".parse().unwrap());
    let mut state = Default::default();
    let hit = |who| Hit::new(1).with_class(class(who));
    let asked =
        [0, 1, 1, 1, 0, 0].map(|who| limit.decide(&mut state, &hit(who), Timestamp::EPOCH).is_dirty());
    assert_eq!(asked, [true, true, false, false, true, false]);
}

#[test]
fn states_are_as_small_as_documented() {
    let size = (8 + 12 + 8 * 16usize).next_multiple_of(align_of::<u64>());
    assert_eq!(size_of::<<FairShare<8> as Strategy>::State>(), size);
}

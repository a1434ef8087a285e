//! The wrappers around every kind of strategy, under every law and against a model.

use core::time::Duration;

use crate::model::Answer;
use crate::model::runs::{advances, changeable, config, held, lawful, rates, runs};
use crate::model::wrappers::HoursModel;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use traffik::laws::{self, Step};
use traffik::strategy::{Bounds, State};
use traffik::{
    Adaptive, Class, Decision, FixedWindow, Gcra, Hit, Hours, Label, Priority, QuotaRollover, Rate, Ratio,
    Scale, Strategy, Tiered, TimeOfDay, Timestamp, TokenBucket,
};

fn ratios() -> impl Generator<Value = Ratio> {
    let known = ["1/2", "1/3", "2", "10", "1/10", "7/5", "1"].map(|text| text.parse().unwrap());
    let any = (1..20u64, 1..20u64).prop_map(|(num, den)| Ratio::new(num, den).unwrap());
    prop_oneof![proptest::sample::select(known.to_vec()), any]
}

/// The same run with hits of many classes.
fn classed(run: impl Generator<Value = Vec<Step>>, one_tier: bool) -> impl Generator<Value = Vec<Step>> {
    (run, proptest::collection::vec((0..4u32, 0..5u32), 40)).prop_map(move |(run, classes)| {
        let tier = classes[0].0;
        let classed = |(step, (other, priority)): (Step, (u32, u32))| {
            let mut class = Class::default();
            class.tier = Label(if one_tier { tier } else { other });
            class.priority = Label(priority);
            Step { class, ..step }
        };
        run.into_iter().zip(classes).map(classed).collect()
    })
}

/// Times of a run stretched by pauses of hours, so that the time of day matters.
fn over_days(run: impl Generator<Value = Vec<Step>>) -> impl Generator<Value = Vec<Step>> {
    let pause = prop_oneof![
        6 => Just(0),
        3 => 0..7_200_000_000u64,
        2 => 0..108_000_000_000u64,
        2 => (0..48u64).prop_map(|half_hours| half_hours * 1_800_000_000),
    ];
    (run, proptest::collection::vec(pause, 40)).prop_map(|(run, pauses)| {
        let mut later = 0;
        let pause = |(step, pause): (Step, u64)| {
            later += pause;
            Step { at: step.at.plus_micros(later), ..step }
        };
        run.into_iter().zip(pauses).map(pause).collect()
    })
}

/// Up to three hours that do not overlap, and an offset: as the strategy and as the model takes them.
type HoursOfDay = ([Hours; 2], Vec<(u128, u128, Ratio)>, i32);

fn hours() -> impl Generator<Value = HoursOfDay> {
    let edges = proptest::sample::subsequence((0..48u16).collect::<Vec<_>>(), 4);
    (edges, 0..30u16, [ratios(), ratios()], 0..4usize, -1439..1440i32).prop_map(
        |(edges, minutes, ratios, turn, offset)| {
            let mut edges: Vec<u16> = edges.iter().map(|half| half * 30 + minutes).collect();
            edges.rotate_left(turn);
            let time = |minute: u16| ((minute / 60) as u8, (minute % 60) as u8);
            let spans = [(edges[0], edges[1], ratios[0]), (edges[2], edges[3], ratios[1])];
            let hours = spans.map(|(from, to, ratio)| Hours::new(time(from), time(to), ratio));
            let model = spans.map(|(from, to, ratio)| (from.into(), to.into(), ratio)).to_vec();
            (hours, model, offset)
        },
    )
}

/// Rates that can be followed through the hours: days to a microsecond.
fn daily() -> impl Generator<Value = Rate> {
    let known =
        ["48/d", "3/31d", "5/2900ms", "7/36h", "100/h", "3/s", "1/d"].map(|text| text.parse().unwrap());
    let any = (0u32..2_000, 1u64..300_000_000_000)
        .prop_map(|(limit, micros)| Rate::new(limit, Duration::from_micros(micros)).unwrap());
    prop_oneof![
        6 => proptest::sample::select(known.to_vec()),
        4 => any,
        4 => (1u32..50, 1u64..100).prop_map(|(limit, hours)| {
            Rate::new(limit, Duration::from_secs(hours * 3600)).unwrap()
        }),
        1 => Just(Rate::UNLIMITED),
    ]
}

fn by_hours<S: Scale<Verdict = Decision> + core::fmt::Debug>(
    limit: impl Fn(Rate) -> S + Clone + 'static,
) -> impl Generator<Value = (TimeOfDay<S, 2>, TimeOfDay<S, 2>, Vec<Step>, Vec<Step>)> {
    (daily(), hours(), daily())
        .prop_filter_map("can be followed", move |(rate, (hours, _, offset), other)| {
            let with = |rate| TimeOfDay::new(limit(rate), hours).ok()?.utc_offset(offset).ok();
            Some((rate, with(rate)?, with(other)?))
        })
        .prop_flat_map(|(rate, limit, other)| {
            let forward = classed(over_days(runs(rate, false)), true);
            (Just(limit), Just(other), forward, classed(over_days(runs(rate, true)), true))
        })
}

/// Every law but what a change of the limit tells, which each test decides on. A run forward is one of a key
/// that stays in its tier, for a storage forgets what is fresh in that one.
fn wrapped<S: Bounds + Scale>(strategy: &S, forward: &[Step], any: &[Step]) -> Result<(), TestCaseError> {
    lawful(strategy, forward, any)?;
    advances(strategy, forward)
}

fn tiers<S: Scale + core::fmt::Debug>(
    limit: impl Fn(Rate) -> S + Clone + 'static,
) -> impl Generator<Value = (Tiered<S, 3>, Tiered<S, 3>, Vec<Step>, Vec<Step>)> {
    let three = || [ratios(), ratios(), ratios()];
    (rates(), rates(), three(), three())
        .prop_filter_map("can be counted", move |(rate, other, one, two)| {
            let named = |[a, b, c]: [Ratio; 3]| [(Label(1), a), (Label(2), b), (Label(3), c)];
            let with = |rate, ratios| Tiered::new(limit(rate), named(ratios)).ok();
            Some((rate, with(rate, one)?, with(other, two)?))
        })
        .prop_flat_map(|(rate, limit, other)| {
            let forward = classed(runs(rate, false), true);
            (Just(limit), Just(other), forward, classed(runs(rate, true), false))
        })
}

fn priorities<S: Strategy<Cost = u32, Verdict = Decision> + core::fmt::Debug>(
    limit: impl Fn(Rate) -> S + Clone + 'static,
) -> impl Generator<Value = (Priority<S, 4>, S, Vec<Step>, Vec<Step>)> {
    let reserve =
        || prop_oneof![Just(Ratio::ZERO), (1..10u64).prop_map(|part| Ratio::new(part, 10).unwrap())];
    (rates(), [reserve(), reserve(), reserve(), reserve()])
        .prop_filter_map("something to reserve", move |(rate, [a, b, c, d])| {
            let reserves = [(Label(0), a), (Label(1), b), (Label(2), c), (Label(3), d)];
            Some((rate, Priority::new(limit(rate), reserves).ok()?, limit(rate)))
        })
        .prop_flat_map(|(rate, limit, whole)| {
            let forward = classed(runs(rate, false), false);
            (Just(limit), Just(whole), forward, classed(runs(rate, true), false))
        })
}

/// After an admission the reserve of its priority is there, at once and for a priority that leaves nothing.
fn keeps_reserves<S: Bounds>(limit: &Priority<S, 4>, whole: &S, run: &[Step]) -> Result<(), TestCaseError> {
    let (mut state, mut latest) = (S::State::default(), Timestamp::EPOCH);
    for step in run {
        latest = latest.max(step.at);
        let before = state.clone();
        let hit = Hit::new(step.cost).with_class(step.class);
        let admitted = limit.decide(&mut state, &hit, step.at).is_allowed();
        let reserve = limit.reserve(step.class);
        let both = if step.cost == 0 { Some(0) } else { step.cost.checked_add(reserve) };
        let fits = |cost| whole.peek(&before, &Hit::new(cost), step.at);
        let fits = both.map_or(fits(0).is_unlimited(), |both| fits(both).is_allowed());
        prop_assert_eq!(admitted, fits, "admitted if and only if the reserve fits too");
        if admitted && step.cost > 0 {
            prop_assert!(whole.peek(&state, &Hit::new(reserve), latest).is_allowed(), "used the reserve");
        }
    }
    Ok(())
}

fn as_by_hours<S: Bounds>(strategy: &S, model: &mut HoursModel, run: &[Step]) -> Result<(), TestCaseError> {
    let mut state = S::State::default();
    for step in run {
        let decision = strategy.decide(&mut state, &Hit::new(step.cost), step.at);
        let expected = model.decide(step.at.as_micros().into(), step.cost);
        let found = Answer {
            outcome: decision.outcome(),
            remaining: decision.remaining(),
            reset_after: decision.reset_after(),
        };
        prop_assert_eq!(found, expected, "at {}", step.at);
    }
    Ok(())
}

fn modelled(bucket: Option<Option<u32>>) -> impl Generator<Value = (HoursModel, HoursOfDay, Vec<Step>)> {
    (daily(), hours()).prop_flat_map(move |(rate, hours)| {
        let model = HoursModel { rate, hours: hours.1.clone(), offset: hours.2, bucket, history: Vec::new() };
        (Just(model), Just(hours), over_days(runs(rate, false)))
    })
}

fn half_burst(rate: Rate) -> Gcra {
    Gcra::new(rate).burst(rate.limit().min(1_000) / 2 + 1).unwrap_or(Gcra::new(rate))
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn tiered_windows_are_lawful((limit, other, forward, any) in tiers(FixedWindow::new)) {
        wrapped(&limit, &forward, &any)?;
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn tiered_buckets_are_lawful((limit, other, forward, any) in tiers(TokenBucket::new)) {
        wrapped(&limit, &forward, &any)?;
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn tiered_quotas_are_lawful((limit, _, forward, any) in tiers(QuotaRollover::new)) {
        wrapped(&limit, &forward, &any)?;
    }

    #[test]
    fn windows_by_hours_are_lawful((limit, other, forward, any) in by_hours(FixedWindow::new)) {
        wrapped(&limit, &forward, &any)?;
        changeable(&limit, &other, &forward)?;
    }

    #[test]
    fn buckets_by_hours_are_lawful((limit, other, forward, any) in by_hours(TokenBucket::new)) {
        wrapped(&limit, &forward, &any)?;
        changeable(&limit, &other, &forward)?;
    }

    #[test]
    fn windows_by_hours_are_their_model((mut model, (hours, _, offset), run) in modelled(None)) {
        let limit = TimeOfDay::new(FixedWindow::new(model.rate), hours);
        prop_assume!(limit.is_ok());
        as_by_hours(&limit.unwrap().utc_offset(offset).unwrap(), &mut model, &run)?;
    }

    #[test]
    fn buckets_by_hours_are_their_model((mut model, (hours, _, offset), run) in modelled(Some(None))) {
        let limit = TimeOfDay::new(TokenBucket::new(model.rate), hours);
        prop_assume!(limit.is_ok());
        as_by_hours(&limit.unwrap().utc_offset(offset).unwrap(), &mut model, &run)?;
    }

    #[test]
    fn bursts_by_hours_are_their_model((mut model, (hours, _, offset), run) in modelled(Some(Some(9)))) {
        let limit = TimeOfDay::new(TokenBucket::new(model.rate).burst(9).unwrap(), hours);
        prop_assume!(limit.is_ok());
        as_by_hours(&limit.unwrap().utc_offset(offset).unwrap(), &mut model, &run)?;
    }

    #[test]
    fn prioritised_windows_are_lawful((limit, whole, forward, any) in priorities(FixedWindow::new)) {
        wrapped(&limit, &forward, &any)?;
        keeps_reserves(&limit, &whole, &forward)?;
        keeps_reserves(&limit, &whole, &any)?;
    }

    #[test]
    fn prioritised_buckets_are_lawful((limit, whole, forward, any) in priorities(TokenBucket::new)) {
        wrapped(&limit, &forward, &any)?;
        keeps_reserves(&limit, &whole, &forward)?;
        keeps_reserves(&limit, &whole, &any)?;
    }

    #[test]
    fn prioritised_quotas_are_lawful((limit, whole, forward, any) in priorities(QuotaRollover::new)) {
        wrapped(&limit, &forward, &any)?;
        keeps_reserves(&limit, &whole, &forward)?;
    }

    /// A limit counted in finer parts, and its states, are the same limit and states.
    #[test]
    fn a_finer_limit_decides_the_same(
        (rate, run) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, true))),
        factor in 1..1_000u64,
        refunded in any::<bool>(),
    ) {
        let bucket = TokenBucket::new(rate);
        let Ok(refine) = bucket.refine(factor) else { return Ok(()) };
        prop_assert_eq!(refine.denominator(), if rate.is_unlimited() { 1 } else { bucket.denominator() * factor });
        let (mut one, mut other) = Default::default();
        for step in &run {
            let hit = Hit::new(step.cost);
            let (decided, finely) = (bucket.decide(&mut one, &hit, step.at), refine.decide(&mut other, &hit, step.at));
            let told = |it: &Decision| (it.outcome(), it.limit(), it.remaining(), it.reset_after());
            prop_assert_eq!(told(&decided), told(&finely));
            if refunded && decided.is_allowed() {
                bucket.refund(&mut one, &hit, decided.receipt(), step.at);
                refine.refund(&mut other, &hit, finely.receipt(), step.at);
            }
        }
    }
}

proptest! {
    // These follow many changes of ratio: bytes that no limit has written may stand for a use of thirty years.
    #![proptest_config(config(10))]

    /// All but laws 5 and 9: a wait beyond the present hours may be told too long, and a window's load is judged in
    /// the hours of the next hit, which a refund does not undo.
    #[test]
    fn adaptives_by_hours_are_lawful((limit, _, forward, any) in by_hours(Adaptive::new)) {
        for run in [&forward, &any] {
            held(laws::pure(&limit, run))?;
            held(laws::never_over(&limit, run))?;
            held(laws::never_starved(&limit, run))?;
            held(laws::denial_is_free(&limit, run))?;
            held(laws::expiry_is_invisible(&limit, run))?;
            held(laws::time_may_step_back(&limit, run))?;
            held(laws::too_large_is_never(&limit, run))?;
            held(laws::codec_round_trips(&limit, run))?;
        }
        advances(&limit, &forward)?;
    }

    #[test]
    fn spacing_by_hours_is_lawful((limit, _, forward, any) in by_hours(half_burst)) {
        wrapped(&limit, &forward, &any)?;
    }

    #[test]
    fn quotas_by_hours_are_lawful((limit, _, forward, any) in by_hours(QuotaRollover::new)) {
        wrapped(&limit, &forward, &any)?;
    }

    #[test]
    fn priorities_by_hours_and_tier_are_lawful((limit, _, forward, any) in by_hours(|rate| {
        let reserves = [(Label(1), "1/2".parse().unwrap()), (Label(2), "1/4".parse().unwrap())];
        let rate = Rate::new(rate.limit().clamp(4, 1_000), rate.period()).unwrap_or(Rate::per_hour(20));
        let bucket = TokenBucket::new(rate);
        let tiers = [(Label(1), Ratio::ONE), (Label(2), "5/2".parse().unwrap())];
        Tiered::new(Priority::new(bucket, reserves).unwrap(), tiers).unwrap()
    })) {
        wrapped(&limit, &forward, &any)?;
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        (limit, _, _, any) in by_hours(TokenBucket::new),
        (windows, ..) in by_hours(FixedWindow::new),
    ) {
        let nested = |tag: u8, length: usize| {
            let mut all = bytes.clone();
            all.resize(length, 0);
            all[0] = 0x41;
            all[9] = tag;
            all
        };
        let run = &any[..any.len().min(5)];
        for bytes in [&bytes, &nested(0x21, 34), &nested(0x11, 22)] {
            held(laws::any_bytes_decode_or_are_refused(&limit, bytes, run))?;
            held(laws::any_bytes_decode_or_are_refused(&windows, bytes, run))?;
        }
    }
}

#[test]
fn states_are_as_long_as_documented() {
    assert_eq!(<TimeOfDay<FixedWindow, 1> as Strategy>::State::MAX_LEN, 9 + 13);
    assert_eq!(<Tiered<FixedWindow, 1> as Strategy>::State::MAX_LEN, 13);
}

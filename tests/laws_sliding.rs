//! The sliding strategies under every law, against a model of their definitions, and within their own bounds.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod model;

use core::time::Duration;

use model::runs::{advances, as_the_model, cases, changeable, held, lawful, rates, runs};
use model::sliding::{Kind, SlidingModel};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use traffik::laws::{self, Step};
use traffik::strategy::Bounds;
use traffik::{Hit, Outcome, Rate, SlidingWindow, Strategy, StrictWindow, Timestamp};

fn sliding_window(rate: Rate, _: u32, _: u32) -> SlidingWindow {
    SlidingWindow::new(rate)
}

/// Times and costs around the boundaries of `buckets` to a period, where they are cut least evenly.
fn edges(rate: Rate, buckets: u32) -> impl Generator<Value = Vec<Step>> {
    let period = rate.period().as_micros() as u64;
    let gap = (0..u64::from(buckets) + 2, -2i64..=2);
    let cost = 1..=rate.limit().clamp(1, 4);
    (any::<u32>(), proptest::collection::vec((gap, cost), 1..60)).prop_map(move |(start, gaps)| {
        let mut now = u64::from(start);
        let step = |((buckets_on, off), cost): ((u64, i64), u32)| {
            let on = buckets_on * period / u64::from(buckets);
            now = now.max((now + on).saturating_add_signed(off));
            Step::new(Timestamp::from_micros(now), cost)
        };
        gaps.into_iter().map(step).collect()
    })
}

/// Never above the limit in any window of one period, by what was admitted and when.
fn holds_in_every_window<S: Bounds>(limit: &S, rate: Rate, run: &[Step]) -> Result<(), TestCaseError> {
    let (mut state, mut admitted) = (S::State::default(), Vec::new());
    for step in run {
        if limit.decide(&mut state, &Hit::new(step.cost), step.at).is_allowed() {
            admitted.push((step.at.as_micros(), u128::from(step.cost)));
        }
        let (now, period) = (step.at.as_micros(), rate.period().as_micros() as u64);
        let within = admitted.iter().filter(|(at, _)| now - at < period).map(|(_, cost)| cost);
        prop_assert!(within.sum::<u128>() <= rate.limit().into(), "above the limit at {}", step.at);
    }
    Ok(())
}

/// A client that asks again as soon as it may gets just what the floor promises, whenever that is looked up.
fn the_floor_is_reached<S: Bounds>(limit: &S, first: Timestamp, cost: u32) -> Result<(), TestCaseError> {
    let (mut state, mut admitted, mut now) = (S::State::default(), 0u128, first);
    for _ in 0..200 {
        match limit.decide(&mut state, &Hit::new(cost), now).outcome() {
            Outcome::Allow { .. } => admitted += u128::from(cost),
            Outcome::Deny { retry_after } => {
                let then = now + retry_after;
                for at in [now, Timestamp::from_micros(then.as_micros() - 1)] {
                    prop_assert_eq!(admitted, limit.least(first, at, cost), "at {} from {}", at, first);
                }
                now = then;
            }
            Outcome::Never => break,
        }
    }
    Ok(())
}

/// A rate of at most one per microsecond, a cost that it admits, and a time to start at.
fn slow_rates() -> impl Generator<Value = (Rate, u32, Timestamp)> {
    let start = (0u64..1_000_000_000).prop_map(Timestamp::from_micros);
    (1u32..40, 1u32..6, 0u64..1_000_000, start).prop_map(|(limit, cost, more, start)| {
        let rate = Rate::new(limit, Duration::from_micros(u64::from(limit) + more)).unwrap();
        (rate, cost.min(limit), start)
    })
}

/// At most 12 buckets: fewer than fit, or all.
fn strict(rate: Rate, buckets: u32, _: u32) -> StrictWindow<12> {
    SlidingWindow::strict(rate).buckets(buckets % 12 + 1).unwrap()
}

const CASES: u32 = 10_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sliding_window_is_lawful((limit, other, forward, any) in cases(sliding_window)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn sliding_window_is_its_model((rate, run) in rates().prop_flat_map(|rate| (Just(rate), runs(rate, false)))) {
        as_the_model(&SlidingWindow::new(rate), &SlidingModel { rate, kind: Kind::Weighted }, &run)?;
    }

    #[test]
    fn the_floor_of_a_sliding_window_is_reached((rate, cost, start) in slow_rates()) {
        the_floor_is_reached(&SlidingWindow::new(rate), start, cost)?;
    }

    #[test]
    fn strict_window_is_lawful((limit, other, forward, any) in cases(strict)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn strict_window_is_lawful_at_its_edges((limit, run) in (rates(), 0u32..12).prop_flat_map(|(rate, buckets)| {
        (Just(strict(rate, buckets, 0)), edges(rate, buckets + 1))
    })) {
        lawful(&limit, &run, &run)?;
        holds_in_every_window(&limit, limit.rate(), &run)?;
    }

    #[test]
    fn strict_window_is_its_model((rate, buckets, run) in (rates(), 0u32..12).prop_flat_map(|(rate, buckets)| {
        (Just(rate), Just(buckets), prop_oneof![runs(rate, false), edges(rate, buckets + 1)])
    })) {
        as_the_model(&strict(rate, buckets, 0), &SlidingModel { rate, kind: Kind::Buckets(buckets + 1) }, &run)?;
    }

    #[test]
    fn the_floor_of_a_strict_window_is_reached((rate, cost, start) in slow_rates(), buckets in 0u32..12) {
        the_floor_is_reached(&strict(rate, buckets, 0), start, cost)?;
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(prop_oneof![4 => Just(0u8), 1 => any::<u8>()], 0..80),
        (window, _, run, _) in cases(sliding_window),
        (strict, _, _, _) in cases(strict),
    ) {
        for tag in [0x12, 0x13, 0x14] {
            let tagged = [&[tag], bytes.as_slice()].concat();
            // A state tells its own end: cut where it is.
            for end in 0..=tagged.len() {
                held(laws::any_bytes_decode_or_are_refused(&window, &tagged[..end], &run))?;
                held(laws::any_bytes_decode_or_are_refused(&strict, &tagged[..end], &run))?;
            }
        }
    }
}

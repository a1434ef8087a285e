//! The sliding strategies under every law, against a model of their definitions, and within their own bounds.

use core::time::Duration;

use crate::model::Model;
use crate::model::runs::{advances, as_the_model, cases, changeable, config, held, lawful, rates, runs};
use crate::model::sliding::{Kind, SlidingModel};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use traffik::laws::{self, Step};
use traffik::strategy::{Bounds, SlidingLogStat, decode, encode};
use traffik::{
    Class, Decision, HeapLog, Hit, Outcome, Rate, SlidingLog, SlidingWindow, State, Strategy, StrictWindow,
    Timestamp, Verdict,
};

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
fn holds_in_every_window<S: Bounds>(strategy: &S, rate: Rate, run: &[Step]) -> Result<(), TestCaseError> {
    let (mut state, mut admitted) = (S::State::default(), Vec::new());
    for step in run {
        if strategy.decide(&mut state, &Hit::new(step.cost), step.at).is_allowed() {
            admitted.push((step.at.as_micros(), u128::from(step.cost)));
        }
        let (now, period) = (step.at.as_micros(), rate.period().as_micros() as u64);
        let within = admitted.iter().filter(|(at, _)| now - at < period).map(|(_, cost)| cost);
        prop_assert!(within.sum::<u128>() <= rate.limit().into(), "above the limit at {}", step.at);
    }
    Ok(())
}

/// A client that asks again as soon as it may gets just what the floor promises, whenever that is looked up.
fn the_floor_is_reached<S: Bounds>(strategy: &S, first: Timestamp, cost: u32) -> Result<(), TestCaseError> {
    let (mut state, mut admitted, mut now) = (S::State::default(), 0u128, first);
    for _ in 0..200 {
        match strategy.decide(&mut state, &Hit::new(cost), now).outcome() {
            Outcome::Allow { .. } => admitted += u128::from(cost),
            Outcome::Deny { retry_after } => {
                let then = now + retry_after;
                for at in [now, Timestamp::from_micros(then.as_micros() - 1)] {
                    prop_assert_eq!(admitted, strategy.least(first, at, cost), "at {} from {}", at, first);
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

/// The same rate with a limit that a log has room for.
fn in_room(rate: Rate, entries: u32) -> Rate {
    if rate.is_unlimited() { rate } else { Rate::new(rate.limit() % (entries + 1), rate.period()).unwrap() }
}

fn sliding_log(rate: Rate, _: u32, _: u32) -> SlidingLog<24> {
    SlidingLog::new(in_room(rate, 24)).unwrap()
}

fn heap_log(rate: Rate, _: u32, _: u32) -> HeapLog {
    HeapLog::new(in_room(rate, 65_536)).unwrap()
}

/// A rate that a log of 24 has room for, and a run for it.
fn logged() -> impl Generator<Value = (Rate, Vec<Step>)> {
    let rate = rates().prop_map(|rate| in_room(rate, 24));
    rate.prop_flat_map(|rate| (Just(rate), prop_oneof![runs(rate, false), edges(rate, 1)]))
}

/// Use is kept as long as it is in the period: a log knows which use is not.
fn changeable_to_longer<S: Bounds>(limits: [(&S, Rate); 2], run: &[Step]) -> Result<(), TestCaseError> {
    let [(limit, rate), (other, to)] = limits;
    let longer = to.period() >= rate.period();
    if longer { changeable(limit, other, run) } else { changeable(other, limit, run) }
}

/// A step, and whether the admission that many before the last is then taken back.
fn with_refunds(
    (rate, run): (Rate, Vec<Step>),
) -> impl Generator<Value = (Rate, Vec<(Step, Option<usize>)>)> {
    let length = run.len();
    let refunds = proptest::collection::vec(proptest::option::of(0usize..6), length);
    refunds.prop_map(move |refunds| (rate, run.iter().copied().zip(refunds).collect()))
}

/// Decisions and figures are those of the model, with admissions taken back in between.
fn as_the_model_with_refunds<S>(
    strategy: &S,
    rate: Rate,
    run: &[(Step, Option<usize>)],
) -> Result<(), TestCaseError>
where
    S: Strategy<Cost = u32, Verdict = Decision, Stat = SlidingLogStat>,
{
    let model = SlidingModel { rate, kind: Kind::Exact };
    let (mut state, mut history, mut open) = (S::State::default(), Vec::new(), Vec::new());
    for (step, refund) in run {
        let (hit, now) = (Hit::new(step.cost), step.at);
        let decision = strategy.decide(&mut state, &hit, now);
        let expected = model.decide(&mut history, now.as_micros().into(), step.cost);
        prop_assert_eq!(decision.outcome(), expected.outcome, "at {}", now);
        if decision.is_dirty() {
            open.push((hit, decision.receipt()));
        }
        if let Some((hit, receipt)) =
            refund.and_then(|back| open.len().checked_sub(back + 1)).map(|at| open.remove(at))
        {
            strategy.refund(&mut state, &hit, receipt, now);
            let booked = (u128::from(receipt.at().as_micros()), hit.cost);
            let place = history.iter().position(|entry| *entry == booked).unwrap();
            history.remove(place);
        }
        if !rate.is_unlimited() {
            let period = rate.period().as_micros();
            let mut times: Vec<u128> =
                history.iter().map(|(at, _)| *at).filter(|at| at + period > now.as_micros().into()).collect();
            times.dedup();
            let stat = strategy.stat(&state, Class::default(), now);
            prop_assert_eq!(u128::from(stat.current_cost_sum), model.used(&history, now.as_micros().into()));
            prop_assert_eq!(stat.entry_count as usize, times.len());
            prop_assert_eq!(stat.oldest_entry.map(|at| at.as_micros().into()), times.first().copied());
        }
    }
    Ok(())
}

/// The first byte of a log.
const RING: u8 = 0x14;

/// Bytes are refused, or are a state that has this form and no other; but a ring may begin anywhere, and have room.
fn survived<S: Strategy>(strategy: &S, bytes: &[u8], run: &[Step]) -> Result<(), TestCaseError> {
    if let Ok(state) = decode::<S::State>(bytes) {
        let mut buffer = [0; 1_024];
        let length = encode(&state, &mut buffer).unwrap();
        match bytes.first() {
            Some(&RING) => {
                prop_assert!(length <= bytes.len());
                prop_assert_eq!(decode(buffer.get(..length).unwrap()), Ok(state));
            }
            _ => prop_assert_eq!(buffer.get(..length), Some(bytes)),
        }
        held(laws::any_bytes_decode_or_are_refused(strategy, bytes, run))?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(1))]

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
    fn sliding_log_is_lawful((limit, other, forward, any) in cases(sliding_log)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
        changeable_to_longer([(&limit, limit.rate()), (&other, other.rate())], &forward)?;
        changeable_to_longer([(&limit, limit.rate()), (&other, other.rate())], &any)?;
    }

    #[test]
    fn heap_log_is_lawful((limit, other, forward, any) in cases(heap_log)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
        changeable_to_longer([(&limit, limit.rate()), (&other, other.rate())], &forward)?;
        changeable_to_longer([(&limit, limit.rate()), (&other, other.rate())], &any)?;
    }

    #[test]
    fn sliding_log_is_its_model((rate, run) in logged()) {
        let limit = SlidingLog::<24>::new(rate).unwrap();
        as_the_model(&limit, &SlidingModel { rate, kind: Kind::Exact }, &run)?;
        holds_in_every_window(&limit, rate, &run)?;
    }

    #[test]
    fn heap_log_is_its_model((rate, run) in rates().prop_flat_map(|rate| {
        let rate = in_room(rate, 65_536);
        (Just(rate), runs(rate, false))
    })) {
        as_the_model(&HeapLog::new(rate).unwrap(), &SlidingModel { rate, kind: Kind::Exact }, &run)?;
    }

    #[test]
    fn logs_with_refunds_are_their_model((rate, run) in logged().prop_flat_map(with_refunds)) {
        as_the_model_with_refunds(&SlidingLog::<24>::new(rate).unwrap(), rate, &run)?;
        as_the_model_with_refunds(&HeapLog::new(rate).unwrap(), rate, &run)?;
    }

    #[test]
    fn the_floor_of_a_log_is_reached((rate, cost, start) in slow_rates()) {
        the_floor_is_reached(&SlidingLog::<40>::new(rate).unwrap(), start, cost)?;
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(prop_oneof![4 => Just(0u8), 1 => any::<u8>()], 0..80),
        (window, _, run, _) in cases(sliding_window),
        (strict, _, _, _) in cases(strict),
        (log, _, _, _) in cases(sliding_log),
        (heap, _, _, _) in cases(heap_log),
    ) {
        for tag in [0x12, 0x13, RING] {
            let tagged = [&[tag], bytes.as_slice()].concat();
            // A state tells its own end: cut where that may be.
            for bytes in (0..=tagged.len()).map(|end| &tagged[..end]) {
                survived(&window, bytes, &run)?;
                survived(&strict, bytes, &run)?;
                survived(&log, bytes, &run)?;
                survived(&heap, bytes, &run)?;
            }
        }
    }
}

#[test]
fn states_are_as_small_as_documented() {
    assert_eq!(size_of::<<SlidingWindow as Strategy>::State>(), 24);
    let size = |fields: usize| fields.next_multiple_of(align_of::<u64>());
    assert_eq!(size_of::<<StrictWindow<10> as Strategy>::State>(), size(8 + size(12) + 4 * 11));
    assert_eq!(size_of::<<SlidingLog<10> as Strategy>::State>(), 12 * (10 + 1));
    assert_eq!(<SlidingWindow as Strategy>::State::MAX_LEN, 25);
    assert_eq!(<StrictWindow<10> as Strategy>::State::MAX_LEN, 21 + 4 * 11);
    assert_eq!(<SlidingLog<10> as Strategy>::State::MAX_LEN, 17 + 12 * 10);
    assert_eq!(<HeapLog as Strategy>::State::MAX_LEN, 17 + 12 * 65_536);
}

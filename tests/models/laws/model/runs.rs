//! Random limits and runs of hits, and what is asked of each.

use core::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use traffik::laws::{self, Step};
use traffik::storage::{Fixed, WhenFull};
use traffik::strategy::Bounds;
use traffik::{Hit, ManualClock, Rate, Scale, Strategy, Timestamp};

use super::{Answer, Model};

/// Ten thousand cases, or as many as `TRAFFIK_CASES` asks for; a part of them for what takes long.
/// `PROPTEST_RNG_SEED` makes a run repeat itself.
pub(crate) fn config(part: u32) -> ProptestConfig {
    let asked = std::env::var("TRAFFIK_CASES").map(|cases| cases.parse::<u32>().unwrap());
    let cases = (asked.unwrap_or(10_000) / part).max(1);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Rates that have caught limiters out, and any others.
pub(crate) fn rates() -> impl Generator<Value = Rate> {
    let known =
        ["3/s", "7/min", "99991/day", "5000000/s", "5/2900ms", "3/31d", "1/us", "3/50ms", "1000/500ms"];
    let any = (1u32..2_000, 1u64..200_000_000)
        .prop_map(|(limit, micros)| Rate::new(limit, Duration::from_micros(micros)).unwrap());
    let wild = (0u32.., 1u64..(1 << 53))
        .prop_map(|(limit, micros)| Rate::new(limit, Duration::from_micros(micros)).unwrap());
    let extreme = (
        proptest::sample::select(vec![0, 1, u32::MAX - 1, u32::MAX]),
        proptest::sample::select(vec![1, 2, (1 << 53) - 2, (1 << 53) - 1]),
    )
        .prop_map(|(limit, micros)| Rate::new(limit, Duration::from_micros(micros)).unwrap());
    prop_oneof![
        4 => proptest::sample::select(known.to_vec()).prop_map(|text| text.parse().unwrap()),
        4 => any,
        1 => wild,
        1 => extreme,
        1 => Just(Rate::UNLIMITED),
    ]
}

/// A run of hits whose times and costs are of the size that matters for `rate`, with silences and equal
/// times; if `hostile`, with steps back and the ends of time too.
pub(crate) fn runs(rate: Rate, hostile: bool) -> impl Generator<Value = Vec<Step>> {
    let period = rate.period().as_micros() as u64;
    let limit = rate.limit();
    let start =
        prop_oneof![8 => 0..4_102_444_800_000_000u64, 1 => Just(0), u32::from(hostile) => Just(u64::MAX - 1)];
    let gap = prop_oneof![
        4 => Just(0i128),
        8 => 0..=i128::from(period / u64::from(limit.max(1)) * 2 + 2),
        4 => 0..=i128::from(period) * 2 + 2,
        2 * u32::from(hostile) => -i128::from(period) * 2 - 2..=0,
        u32::from(hostile) => any::<i64>().prop_map(i128::from),
    ];
    let cost = prop_oneof![8 => Just(1u32), 4 => 0..=limit.saturating_add(1).min(50), 2 => 0..=limit.saturating_add(1), 1 => any::<u32>()];
    (start, proptest::collection::vec((gap, cost), 1..40)).prop_map(|(start, gaps)| {
        let mut now = i128::from(start);
        let step = |(gap, cost): (i128, u32)| {
            now = (now + gap).clamp(0, i128::from(u64::MAX));
            Step::new(Timestamp::from_micros(now as u64), cost)
        };
        gaps.into_iter().map(step).collect()
    })
}

/// A limit with a run for it, and another limit of the same kind.
pub(crate) fn cases<S: Strategy + core::fmt::Debug>(
    limits: impl Fn(Rate, u32, u32) -> S + Clone + 'static,
) -> impl Generator<Value = (S, S, Vec<Step>, Vec<Step>)> {
    let size = || prop_oneof![4 => 0u32..20, 1 => any::<u32>()];
    (rates(), rates(), size(), size()).prop_flat_map(move |(rate, other, a, b)| {
        (Just(limits(rate, a, b)), Just(limits(other, b, a)), runs(rate, false), runs(rate, true))
    })
}

/// All that holds for one strategy.
pub(crate) fn lawful<S: Bounds>(strategy: &S, forward: &[Step], any: &[Step]) -> Result<(), TestCaseError> {
    held(laws::every(strategy, forward))?;
    held(laws::every(strategy, any))?;
    let fixed = Fixed::<S, _, 4>::new(ManualClock::default(), 42).when_full(WhenFull::Refuse);
    held(laws::storage_agrees(strategy, &fixed, "key", forward))
}

/// Use is kept when the limit changes.
pub(crate) fn changeable<S: Bounds>(strategy: &S, other: &S, run: &[Step]) -> Result<(), TestCaseError> {
    held(laws::limit_may_change(strategy, other, run))
}

/// Time may be brought forward before the next hit.
pub(crate) fn advances<S: Scale>(strategy: &S, forward: &[Step]) -> Result<(), TestCaseError> {
    held(laws::advance_is_invisible(strategy, forward))
}

/// A broken law fails the case.
pub(crate) fn held(law: Result<(), laws::BrokenLaw>) -> Result<(), TestCaseError> {
    law.map_err(|broken| TestCaseError::fail(broken.to_string()))
}

/// Decisions are those of the model: outcome, wait, remaining, reset.
pub(crate) fn as_the_model<S: Bounds>(
    strategy: &S,
    model: &dyn Model,
    run: &[Step],
) -> Result<(), TestCaseError> {
    let mut state = S::State::default();
    let mut history = Vec::new();
    for step in run {
        let decision = strategy.decide(&mut state, &Hit::new(step.cost), step.at);
        let expected = model.decide(&mut history, step.at.as_micros().into(), step.cost);
        let found = Answer {
            outcome: decision.outcome(),
            remaining: decision.remaining(),
            reset_after: decision.reset_after(),
        };
        prop_assert_eq!(found, expected, "at {}", step.at);
    }
    Ok(())
}

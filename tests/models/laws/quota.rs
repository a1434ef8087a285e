//! Limits that depend on the window before, under every law and against their models.

use crate::model::Answer;
use crate::model::quota::{AdaptiveModel, RolloverModel};
use crate::model::runs::{advances, as_the_model, config, held, lawful, rates, runs};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use traffik::laws::{self, Step};
use traffik::storage::{Fixed, WhenFull};
use traffik::strategy::State;
use traffik::{
    Adaptive, Class, Decision, Hit, ManualClock, QuotaRollover, Rate, Ratio, Strategy, Timestamp, Verdict,
};

fn part(num: u64, den: u64) -> Ratio {
    Ratio::new(num, den).unwrap()
}

/// A quota and its model: a share in hundredths, and a maximum that matters or none.
fn quotas() -> impl Generator<Value = (QuotaRollover, RolloverModel, Vec<Step>, Vec<Step>)> {
    let max = prop_oneof![2 => Just(u32::MAX), 2 => 0u32..20, 1 => any::<u32>()];
    (rates(), prop_oneof![Just(50), 0..=100u64], max).prop_flat_map(|(rate, percent, max)| {
        let quota = QuotaRollover::new(rate).share(part(percent, 100)).unwrap().max_rollover(max);
        let model = move || RolloverModel { rate, percent: percent.into(), max };
        (runs(rate, false), runs(rate, true)).prop_map(move |(forward, any)| (quota, model(), forward, any))
    })
}

/// Parameters in millionths: threshold, reduction, recovery, floor.
fn parameters() -> impl Generator<Value = (u64, u64, u64, u64)> {
    let any = (1..=1_000_000u64, 0..1_000_000u64, 10_000..=1_000_000u64, 0..=1_000_000u64);
    prop_oneof![Just((800_000, 600_000, 100_000, 300_000)), any]
}

fn adaptive(rate: Rate, (threshold, reduction, recovery, floor): (u64, u64, u64, u64)) -> Adaptive {
    let part = |millionths| part(millionths, 1_000_000);
    let limit = Adaptive::new(rate).threshold(part(threshold)).unwrap().reduction(part(reduction)).unwrap();
    limit.recovery(part(recovery)).unwrap().floor(part(floor)).unwrap()
}

fn adaptives() -> impl Generator<Value = (Adaptive, AdaptiveModel, Vec<Step>, Vec<Step>)> {
    (rates(), parameters()).prop_flat_map(|(rate, parameters)| {
        let (threshold, reduction, recovery, floor) = parameters;
        let model = AdaptiveModel {
            rate,
            threshold: threshold.into(),
            reduction: reduction.into(),
            recovery: recovery.into(),
            floor: floor.into(),
            asked: Vec::new(),
        };
        let limit = adaptive(rate, parameters);
        (runs(rate, false), runs(rate, true))
            .prop_map(move |(forward, any)| (limit, model.clone(), forward, any))
    })
}

fn told(decision: &Decision) -> Answer {
    Answer {
        outcome: decision.outcome(),
        remaining: decision.remaining(),
        reset_after: decision.reset_after(),
    }
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn quota_rollover_is_lawful((limit, _, forward, any) in quotas()) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
    }

    #[test]
    fn quota_rollover_is_its_model((limit, model, forward, _) in quotas()) {
        as_the_model(&limit, &model, &forward)?;
    }

    /// Nothing adds up: any windows in a row hold their limits and one rollover.
    #[test]
    fn quota_rollover_admits_one_rollover_more(
        (limit, model, forward, _) in quotas().prop_filter("limited", |(limit, ..)| !limit.rate().is_unlimited()),
    ) {
        let mut state = Default::default();
        let mut admitted = std::collections::BTreeMap::<u64, u128>::new();
        let window = |at: Timestamp| at.as_micros() / limit.rate().period().as_micros() as u64;
        for step in &forward {
            if limit.decide(&mut state, &Hit::new(step.cost), step.at).is_allowed() {
                *admitted.entry(window(step.at)).or_default() += u128::from(step.cost);
            }
        }
        let most = u128::from(limit.rate().limit());
        for first in admitted.keys() {
            for last in admitted.keys().filter(|last| *last >= first) {
                let sum: u128 = admitted.range(*first..=*last).map(|(_, cost)| cost).sum();
                let windows = u128::from(last - first + 1);
                let rollover = (most * model.percent / 100).min(model.max.into());
                prop_assert!(sum <= windows * most + rollover, "{sum} in {windows} windows");
            }
        }
    }

    /// Use is kept, in this window and the one before.
    #[test]
    fn quota_rollover_keeps_what_was_used((limit, _, forward, _) in quotas(), rate in rates()) {
        if limit.rate().is_unlimited() || rate.is_unlimited() {
            return Ok(());
        }
        let other = Rate::new(rate.limit(), limit.rate().period()).unwrap();
        let other = QuotaRollover::new(other);
        let mut state = Default::default();
        for step in &forward {
            if limit.decide(&mut state, &Hit::new(step.cost), step.at).is_dirty() {
                let used = |limit: &QuotaRollover| limit.stat(&state, Class::default(), step.at).used;
                prop_assert_eq!(used(&limit), used(&other));
                let told = other.peek(&state, &Hit::new(0), step.at);
                prop_assert_eq!(told.remaining(), told.limit().saturating_sub(used(&limit)));
            }
        }
    }

    #[test]
    fn adaptive_is_lawful((limit, _, forward, any) in adaptives()) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
    }

    /// Under a load from outside too; only that a refund does not take a change of the factor back.
    #[test]
    fn adaptive_under_load_is_lawful((limit, _, forward, any) in adaptives(), load in 0..1000u64) {
        let limit = limit.load(part(load, 800));
        for run in [&forward, &any] {
            held(laws::pure(&limit, run))?;
            held(laws::never_over(&limit, run))?;
            held(laws::never_starved(&limit, run))?;
            held(laws::denial_is_free(&limit, run))?;
            held(laws::waits_are_exact(&limit, run))?;
            held(laws::expiry_is_invisible(&limit, run))?;
            held(laws::time_may_step_back(&limit, run))?;
            held(laws::too_large_is_never(&limit, run))?;
            held(laws::codec_round_trips(&limit, run))?;
        }
        let fixed = Fixed::<_, _, 4>::new(ManualClock::default(), 42).when_full(WhenFull::Refuse);
        held(laws::storage_agrees(&limit, &fixed, "key", &forward))?;
    }

    #[test]
    fn adaptive_is_its_model((limit, mut model, forward, _) in adaptives()) {
        let mut state = Default::default();
        for step in &forward {
            let decision = limit.decide(&mut state, &Hit::new(step.cost), step.at);
            let expected = model.decide(step.at.as_micros().into(), step.cost);
            prop_assert_eq!(told(&decision), expected, "at {}", step.at);
        }
    }

    /// The limit falls by no more than once per window, and never below its floor.
    #[test]
    fn adaptive_falls_once_per_window((limit, model, forward, _) in adaptives(), load in 0..1000u64) {
        if limit.rate().is_unlimited() || limit.rate().limit() == 0 {
            return Ok(());
        }
        let limit = limit.load(part(load, 800));
        let mut state = Default::default();
        let mut last: Option<(Timestamp, u32)> = None;
        for step in &forward {
            let _ = limit.decide(&mut state, &Hit::new(step.cost), step.at);
            let stat = limit.stat(&state, Class::default(), step.at);
            let floor = u128::from(limit.rate().limit()) * model.floor / 1_000_000;
            prop_assert!(u128::from(stat.effective_limit) >= floor.max(1));
            if let Some((window, effective)) = last {
                let same = window != stat.window_start || effective == stat.effective_limit;
                prop_assert!(same, "the limit changed within a window");
            }
            last = Some((stat.window_start, stat.effective_limit));
        }
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..30),
        small in proptest::bool::ANY,
        (quota, _, _, any) in quotas(),
        parameters in parameters(),
        load in 0..1000u64,
    ) {
        let adaptive = adaptive(quota.rate(), parameters).load(part(load, 800));
        for (tag, length) in [(0x31u8, 21), (0x32, 17)] {
            let mut tagged = bytes.clone();
            tagged.insert(0, tag);
            tagged.resize(length, 0);
            if small && tag == 0x31 {
                tagged[19..].fill(0);
            }
            for bytes in [&bytes, &tagged] {
                held(laws::any_bytes_decode_or_are_refused(&quota, bytes, &any))?;
                held(laws::any_bytes_decode_or_are_refused(&adaptive, bytes, &any))?;
            }
        }
    }
}

#[test]
fn states_are_as_long_as_documented() {
    assert_eq!(<Adaptive as Strategy>::State::MAX_LEN, 21);
    assert_eq!(<QuotaRollover as Strategy>::State::MAX_LEN, 17);
}

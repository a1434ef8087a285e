//! The leaky bucket, the leaky bucket with a queue and the cost-based bucket under every law, and against
//! exact models of their definitions.

use crate::model::leaky::{CostModel, QueueModel};
use crate::model::runs::{advances, as_the_model, cases, changeable, config, lawful, rates, runs};
use crate::model::{BucketModel, History};
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use traffik::laws::{self, Step};
use traffik::{
    Class, CostBased, Hit, LeakyBucket, LeakyBucketQueue, Outcome, Rate, Ratio, State, Strategy, Timestamp,
};

fn leaky_bucket(rate: Rate, capacity: u32, _: u32) -> LeakyBucket {
    let plain = LeakyBucket::new(rate);
    if capacity.is_multiple_of(3) { plain } else { plain.capacity(capacity).unwrap_or(plain) }
}

fn leaky_bucket_queue(rate: Rate, queue: u32, _: u32) -> LeakyBucketQueue {
    let plain = LeakyBucketQueue::new(rate);
    if queue.is_multiple_of(3) { plain } else { plain.queue(queue).unwrap_or(plain) }
}

const FLOORS: [(u64, u64); 5] = [(1, 2), (1, 1), (2, 3), (1, 10), (1, u64::MAX)];

fn cost_based(rate: Rate, burst: u32, shape: u32) -> CostBased {
    let plain = CostBased::new(rate);
    let bucket = if burst.is_multiple_of(3) { plain } else { plain.burst(burst).unwrap_or(plain) };
    let bucket = if shape.is_multiple_of(2) { bucket } else { bucket.window(shape).unwrap() };
    let (num, den) = *FLOORS.get(shape as usize / 2 % FLOORS.len()).unwrap();
    bucket.floor(Ratio::new(num, den).unwrap()).unwrap()
}

/// A rate, a size and a run that suits them.
fn sized_runs() -> impl Generator<Value = (Rate, u32, Vec<Step>)> {
    rates().prop_flat_map(|rate| (Just(rate), 0u32..40, runs(rate, false)))
}

proptest! {
    #![proptest_config(config(1))]

    #[test]
    fn leaky_bucket_is_lawful((limit, other, forward, any) in cases(leaky_bucket)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn leaky_bucket_queue_is_lawful((limit, other, forward, any) in cases(leaky_bucket_queue)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn cost_based_is_lawful((limit, other, forward, any) in cases(cost_based)) {
        lawful(&limit, &forward, &any)?;
        advances(&limit, &forward)?;
        changeable(&limit, &other, &forward)?;
        changeable(&limit, &other, &any)?;
    }

    #[test]
    fn leaky_bucket_is_its_model((rate, capacity, run) in sized_runs()) {
        // The model takes a closed bucket of 1 for one that was not asked for.
        prop_assume!(rate.limit() > 0 || capacity != 1);
        let limit = LeakyBucket::new(rate).capacity(capacity).unwrap();
        as_the_model(&limit, &BucketModel { rate, capacity: (capacity.into(), 0), told: capacity, owed: 0 }, &run)?;
    }

    #[test]
    fn leaky_bucket_queue_is_its_model((rate, queue, run) in sized_runs()) {
        let limit = LeakyBucketQueue::new(rate).queue(queue).unwrap();
        as_the_model(&limit, &QueueModel { rate, queue }, &run)?;
    }

    #[test]
    fn cost_based_is_its_model((rate, burst, run) in sized_runs(), window in 1u32..200, floor in proptest::sample::select(FLOORS.to_vec())) {
        let (num, den) = floor;
        let limit = CostBased::new(rate).burst(burst);
        prop_assume!(limit.is_ok()); // 40 per 285 years cannot be counted so finely
        let limit = limit.unwrap().window(window).unwrap().floor(Ratio::new(num, den).unwrap()).unwrap();
        let model = CostModel { rate, burst, window: window.into(), floor: (num.into(), den.into()) };
        as_the_model(&limit, &model, &run)?;
    }

    /// The mean is the exponential mean and the refill what it says, within what rounding is stated.
    #[test]
    fn the_mean_and_the_refill_are_what_they_are_called(
        costs in proptest::collection::vec(1u32..200, 1..60),
        window in 1u32..200,
        rate in rates(),
    ) {
                let limit = match CostBased::new(rate).burst(200 * 60) {
            Ok(limit) if rate.limit() > 0 && !rate.is_unlimited() => limit.window(window).unwrap(),
            _ => return Ok(()), // some rates cannot be counted that far, or have no refill
        };
        let (mut state, mut mean) = (Default::default(), 1.0);
        for cost in costs {
            let at = Timestamp::from_micros(7);
            prop_assert!(limit.decide(&mut state, &Hit::new(cost), at).is_allowed());
            mean += (f64::from(cost) - mean) / f64::from(window);
            let stat = limit.stat(&state, Class::default(), at);
            let real = |ratio: Ratio| ratio.num() as f64 / ratio.den() as f64;
            prop_assert!((real(stat.mean_cost) - mean).abs() < 1e-6);
            let share = real(stat.refill.unwrap()) / real(rate.per_micro().unwrap());
            // A step of the refill, and what rounding the mean and these floats comes to.
            prop_assert!((share - (1.0 / mean).max(0.5)).abs() < 1.0 / 1024.0 + 1e-6, "{} at {}", share, mean);
            prop_assert!(share > 0.5 - 1e-9 && share < 1.0 + 1e-9);
        }
    }

    /// Hits leave in the order in which they came, spaced by exactly the cost of each while one waits; and
    /// never do more wait than may.
    #[test]
    fn departures_are_in_order_and_exactly_spaced(
        (rate, queue, run) in sized_runs(),
    ) {
        if rate.is_unlimited() || rate.limit() == 0 {
            return Ok(()); // nothing is spaced where nothing leaves, or nothing waits
        }
        let limit = LeakyBucketQueue::new(rate).queue(queue).unwrap();
        let (period, per) = (rate.period().as_micros(), u128::from(rate.limit()));
        let mut state = Default::default();
        let mut admitted = History::new();
        let mut departures = Vec::new();
        for step in &run {
            let now = u128::from(step.at.as_micros());
            let Outcome::Allow { after } = limit.decide(&mut state, &Hit::new(step.cost), step.at).outcome() else { continue };
            if step.cost > 0 {
                admitted.push((now, step.cost));
                departures.push(now + after.as_micros());
            }
            let behind = departures.iter().zip(&admitted).filter(|(departure, _)| **departure > now);
            let waiting: u64 = behind.map(|(_, (_, cost))| u64::from(*cost)).sum();
            prop_assert!(waiting <= queue.into(), "{} wait, {} may", waiting, queue);
        }
        prop_assert!(departures.is_sorted());
        // In exact fractions of a microsecond: the start of a busy spell, and what has left since.
        let mut exact = 0u128;
        for ((arrival, cost), departure) in admitted.iter().zip(&departures) {
            exact = exact.max(arrival * per);
            prop_assert_eq!(*departure, exact.div_ceil(per));
            exact += u128::from(*cost) * period;
        }
    }

    /// A place taken back in time leaves the queue as if nobody had stood there; taken back late, or with
    /// another behind it, it changes nothing.
    #[test]
    fn only_the_last_place_is_taken_back(
        (rate, queue, run) in sized_runs(),
        late in 0u64..1_000_000,
    ) {
        let limit = LeakyBucketQueue::new(rate).queue(queue).unwrap();
        let mut state = Default::default();
        let mut last = None;
        for step in &run {
            let before = state;
            let verdict = limit.decide(&mut state, &Hit::new(step.cost), step.at);
            let Outcome::Allow { after } = verdict.outcome() else { continue };
            if step.cost == 0 || rate.is_unlimited() {
                continue;
            }
            if let Some((hit, receipt)) = last {
                let mut kept = state;
                limit.refund(&mut kept, &hit, receipt, step.at);
                prop_assert_eq!(kept, state, "others stand behind it");
            }
            let hit = Hit::new(step.cost);
            let (mut in_time, mut too_late) = (state, state);
            let turn = step.at + after;
            limit.refund(&mut in_time, &hit, verdict.receipt(), turn);
            let next = |state| limit.peek(state, &Hit::new(1), turn);
            prop_assert_eq!(next(&in_time), next(&before));
            limit.refund(&mut too_late, &hit, verdict.receipt(), turn.plus_micros(1 + late));
            prop_assert_eq!(too_late, state);
            last = Some((hit, verdict.receipt()));
        }
    }

    #[test]
    fn any_bytes_are_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
        (queue, _, _, run) in cases(leaky_bucket_queue),
        (bucket, _, _, _) in cases(cost_based),
    ) {
        let level = [&[0x21][..], &bytes].concat();
        let costly = [&[0x22][..], &level].concat();
        let told = [&[0x23][..], &bytes].concat();
        let cut = |bytes: &[u8], length: usize| bytes.get(..length).unwrap_or_default().to_vec();
        for bytes in [bytes.clone(), cut(&level, 25), cut(&costly, 42), cut(&told, 33)] {
            let bytes = &bytes;
            prop_assert_eq!(laws::any_bytes_decode_or_are_refused(&queue, bytes, &run), Ok(()));
            prop_assert_eq!(laws::any_bytes_decode_or_are_refused(&bucket, bytes, &run), Ok(()));
        }
    }
}

#[test]
fn states_are_as_small_as_documented() {
    assert_eq!(size_of::<<LeakyBucketQueue as Strategy>::State>(), 32);
    assert_eq!(size_of::<<CostBased as Strategy>::State>(), 40);
    assert_eq!(<CostBased as Strategy>::State::MAX_LEN, 42);
}

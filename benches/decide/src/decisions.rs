//! The benchmarks, as criterion runs them.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use traffik::{
    Adaptive, CoarseClock, CostBased, Decision, FairShare, FixedWindow, Gcra, Hit, Hours, Label, LeakyBucket,
    LeakyBucketQueue, Limiter, Memory, Priority, QuotaRollover, Rate, Ratio, SlidingLog, SlidingWindow,
    Strategy, Tiered, TimeOfDay, Timestamp, TokenBucket,
};

const START: u64 = 1_700_000_000_000_000;

/// Runs the benchmarks that the arguments of this program ask for.
pub(crate) fn run() {
    let criterion = Criterion::default().warm_up_time(Duration::from_millis(300));
    let criterion = criterion.measurement_time(Duration::from_secs(1)).sample_size(20);
    let mut criterion = criterion.configure_from_args();
    decisions(&mut criterion);
    checks(&mut criterion);
}

/// Decides and reads the outcome, wait included, at steps of `gap` microseconds.
fn decide<S: Strategy<Cost = u32, Verdict = Decision>>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    limit: S,
    gap: u64,
) {
    group.bench_function(name, |bencher| {
        let (limit, mut state, mut now) = (black_box(limit.clone()), S::State::default(), START);
        bencher.iter(|| {
            now += gap;
            let decision = limit.decide(&mut state, &Hit::new(black_box(1)), Timestamp::from_micros(now));
            decision.outcome()
        });
    });
}

fn decisions(criterion: &mut Criterion) {
    let rate = Rate::per_second(1_000);
    let mut group = criterion.benchmark_group("decide and outcome");
    let free = [(Label::named("free"), Ratio::ONE)];
    let low = [(Label::default(), Ratio::new(1, 4).unwrap_or(Ratio::ONE))];
    let night = [Hours::new((0, 0), (6, 0), Ratio::new(2, 1).unwrap_or(Ratio::ONE))];
    for (path, gap) in [("admitted", 2_000), ("denied", 0)] {
        let group = &mut group;
        let name = |name: &str| format!("{name}, {path}");
        decide(group, &name("fixed window"), FixedWindow::new(rate), gap);
        decide(group, &name("sliding window"), SlidingWindow::new(rate), gap);
        decide(group, &name("token bucket"), TokenBucket::new(rate), gap);
        decide(group, &name("leaky bucket"), LeakyBucket::new(rate), gap);
        decide(group, &name("leaky bucket queue"), LeakyBucketQueue::new(rate), gap);
        decide(group, &name("gcra"), Gcra::new(rate).burst(10).unwrap_or(Gcra::new(rate)), gap);
        decide(group, &name("adaptive"), Adaptive::new(rate), gap);
        decide(group, &name("quota rollover"), QuotaRollover::new(rate), gap);
        decide(group, &name("cost based"), CostBased::new(rate), gap);
        if let Ok(tiered) = Tiered::new(Gcra::new(rate), free) {
            decide(group, &name("tiered gcra"), tiered, gap);
        }
        if let Ok(priority) = Priority::new(TokenBucket::new(rate), low) {
            decide(group, &name("priority over a token bucket"), priority, gap);
        }
        if let Ok(time_of_day) = TimeOfDay::new(FixedWindow::new(rate), night) {
            decide(group, &name("time of day over a fixed window"), time_of_day, gap);
        }
    }
    group.finish();

    // The states of these grow with their limit: shown beside, without a bound.
    let mut group = criterion.benchmark_group("more than one figure kept");
    for (path, gap) in [("admitted", 2_000), ("denied", 0)] {
        let group = &mut group;
        let name = |name: &str| format!("{name}, {path}");
        decide(group, &name("strict window of 10 buckets"), SlidingWindow::strict::<10>(rate), gap);
        for limit in [10, 1_000] {
            if let Ok(log) = SlidingLog::<1_000>::new(Rate::per_second(limit)) {
                decide(group, &name(&format!("sliding log of {limit}")), log, gap * 1_000 / u64::from(limit));
            }
        }
        decide(group, &name("fair share of 8"), FairShare::<8>::new(rate), gap);
    }
    group.finish();

    let mut group = criterion.benchmark_group("figures that need a division");
    let mut state = Default::default();
    let decision = Gcra::new(rate).decide(&mut state, &Hit::new(1), Timestamp::from_micros(START));
    group.bench_function("remaining", |bencher| bencher.iter(|| black_box(&decision).remaining()));
    group.bench_function("reset_after", |bencher| bencher.iter(|| black_box(&decision).reset_after()));
    group.finish();
}

fn checks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check, one hot key");
    let gcra = Gcra::new(Rate::per_second(1_000));
    let exact = Limiter::new(gcra, Memory::new(10_000));
    group.bench_function("default clock", |bencher| bencher.iter(|| exact.check(black_box(&7u64))));
    let coarse = Limiter::new(gcra, Memory::builder().clock(CoarseClock::default()).build());
    group.bench_function("coarse clock", |bencher| bencher.iter(|| coarse.check(black_box(&7u64))));
    let now = exact.now();
    group.bench_function("time given", |bencher| {
        bencher.iter(|| exact.check_at(black_box(&7u64), &Hit::new(1), now))
    });
    group.finish();
}

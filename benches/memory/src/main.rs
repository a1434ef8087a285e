//! Times checks in memory beside governor's and a bare table's, in turns and in one process, and holds the ratios
//! against what is promised. Only the ratios travel from machine to machine.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Instant;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use traffik_backends::{CoarseClock, Memory, MonotonicClock};
use traffik_core::{Decision, FixedWindow, Gcra, Hit, Limiter, QuotaRollover, Rate, StorageError, Strategy};

mod bare;
use bare::Bare;

/// Rounds of each contender, of which the median counts.
const ROUNDS: usize = 7;
/// Checks in a round.
const CHECKS: usize = 1_000_000;
/// Keys in a batch.
const BATCH: usize = 1_024;

type Ours<C> = Limiter<Gcra, Memory<Gcra, C>>;

fn gcra() -> Gcra {
    Gcra::new(Rate::per_second(1_000)).burst(1_000).expect("a burst of 1000 can be counted")
}

fn ours<C: traffik_core::Clock>(keys: u64, clock: C) -> Ours<C> {
    Limiter::new(gcra(), Memory::builder().capacity(keys as usize).clock(clock).build())
}

fn governor<K: std::hash::Hash + Eq + Clone>() -> DefaultKeyedRateLimiter<K> {
    RateLimiter::keyed(Quota::per_second(NonZeroU32::new(1_000).expect("is not 0")))
}

/// A contender: what it is called, and a round of it.
type Contender<'a> = (&'a str, Box<dyn FnMut(&[u64]) + 'a>);

/// A contender that checks one key after another.
fn each<'a>(check: impl Fn(&u64) + 'a) -> Box<dyn FnMut(&[u64]) + 'a> {
    Box::new(move |keys| keys.iter().for_each(&check))
}

/// Nanoseconds a check of each takes, round by round in turns: the median. Each has seen every key before.
fn race(keys: u64, contenders: &mut [Contender<'_>]) -> Vec<f64> {
    let all: Vec<u64> = (0..keys).collect();
    contenders.iter_mut().for_each(|(_, run)| run(&all));
    let mut times = vec![Vec::new(); contenders.len()];
    let mut random = 88_172_645_463_325_252u64;
    for _ in 0..ROUNDS {
        let asked: Vec<u64> = (0..CHECKS).map(|_| next(&mut random) % keys).collect();
        for ((_, run), times) in contenders.iter_mut().zip(&mut times) {
            let began = Instant::now();
            run(&asked);
            times.push(began.elapsed().as_nanos() as f64 / CHECKS as f64);
        }
    }
    times.into_iter().map(median).collect()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Keeps the compiler from leaving out what no one looks at.
fn seen<T>(answer: T) {
    black_box(answer);
}

fn admits(answer: Result<Decision, StorageError>) -> bool {
    answer.is_ok_and(|decision| decision.is_allowed())
}

/// Marsaglia's xorshift.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// What was promised and not kept.
struct Report {
    failed: usize,
}

impl Report {
    fn line(&mut self, what: &str, figure: f64, unit: &str, bound: f64) {
        let kept = figure <= bound;
        self.failed += usize::from(!kept);
        println!(
            "  {what:<52} {figure:>8.2} {unit:<9} bound {bound}: {}",
            if kept { "pass" } else { "FAIL" }
        );
    }
}

fn integers(report: &mut Report, keys: u64) {
    let (governor, bare) = (governor::<u64>(), Bare::new(keys));
    let (exact, coarse, at) = (
        ours(keys, MonotonicClock::default()),
        ours(keys, CoarseClock::default()),
        ours(keys, CoarseClock::default()),
    );
    let many = ours(keys, CoarseClock::default());
    // A time that stays makes every check but the first thousand of a key a denial, for the bare table as well.
    let now = at.now();
    let mut contenders: [Contender<'_>; 7] = [
        ("governor", each(|key| seen(governor.check_key(key).is_ok()))),
        ("default clock", each(|key| seen(admits(exact.check(key))))),
        ("coarse clock", each(|key| seen(admits(coarse.check(key))))),
        ("time given", each(|key| seen(admits(at.check_at(key, &Hit::new(1), now))))),
        (
            "in batches",
            Box::new(|keys| {
                keys.chunks(BATCH).for_each(|batch| many.check_many(batch, |_, answer| seen(admits(answer))));
            }),
        ),
        ("bare table", each(|key| seen(bare.check(*key, now.as_micros())))),
        ("nothing", each(|key| seen(*key))),
    ];
    let times = race(keys, &mut contenders);
    println!("\n{keys} keys of 64 bits, ns a check");
    for ((name, _), time) in contenders.iter().zip(&times) {
        println!("  {name:<52} {time:>8.2} ns");
    }
    let [governor, exact, coarse, at, many, bare, _] = times[..] else { return };
    let (bound, of_coarse) = match keys {
        0..=10_000 => (0.6, None),
        10_001..=1_000_000 => (0.7, Some(0.3)),
        _ => (0.5, Some(0.3)),
    };
    report.line("default clock, over governor", exact / governor, "", bound);
    if let Some(bound) = of_coarse {
        report.line("coarse clock, over governor", coarse / governor, "", bound);
    }
    report.line("time given, over the bare table", at / bare, "", 1.5);
    report.line("in batches, over the bare table", many / bare, "", 1.5);
}

fn texts(report: &mut Report, keys: u64) {
    let names: Vec<String> = (0..keys).map(|key| format!("user-{key:010}")).collect();
    let (governor, exact) = (governor::<String>(), ours(keys, MonotonicClock::default()));
    let name = |key: &u64| &names[*key as usize];
    let mut contenders: [Contender<'_>; 2] = [
        ("governor", each(|key| seen(governor.check_key(name(key)).is_ok()))),
        ("default clock", each(|key| seen(admits(exact.check(name(key).as_str()))))),
    ];
    let times = race(keys, &mut contenders);
    println!("\n{keys} keys of 15 bytes, ns a check");
    for ((name, _), time) in contenders.iter().zip(&times) {
        println!("  {name:<52} {time:>8.2} ns");
    }
    report.line("default clock, over governor", times[1] / times[0], "", 0.6);
}

/// Runs the same on two threads at once: nanoseconds of the slower, over the checks of one.
fn on_two_threads(run: impl Fn(u64) + Sync) -> f64 {
    let time = || {
        let began = Instant::now();
        std::thread::scope(|scope| {
            (0..2).for_each(|thread| {
                drop(scope.spawn({
                    let run = &run;
                    move || run(thread)
                }))
            })
        });
        began.elapsed().as_nanos() as f64 / CHECKS as f64
    };
    run(0);
    median((0..ROUNDS).map(|_| time()).collect())
}

fn one_hot_key_on_two_threads(report: &mut Report) {
    let (governor, exact) = (governor::<u64>(), ours(10_000, MonotonicClock::default()));
    let theirs = on_two_threads(|_| (0..CHECKS).for_each(|_| seen(governor.check_key(&7).is_ok())));
    let ours = on_two_threads(|_| (0..CHECKS).for_each(|_| seen(admits(exact.check(&7u64)))));
    println!(
        "\none hot key on two threads, ns a check\n  {:<52} {theirs:>8.2} ns\n  {:<52} {ours:>8.2} ns",
        "governor", "default clock"
    );
    report.line("default clock, over governor", ours / theirs, "", 0.5);
}

/// Bytes that a storage for a million keys takes, all in, for each of them.
fn bytes_a_key<S: Strategy>() -> f64 {
    const KEYS: usize = 1_000_000;
    let mut kept = None;
    let taken = allocation_counter::measure(|| kept = Some(Memory::<S>::new(KEYS)));
    drop(kept);
    taken.bytes_current as f64 / KEYS as f64
}

fn main() {
    let mut report = Report { failed: 0 };
    println!("bytes a key, of a million");
    report.line("fixed window", bytes_a_key::<FixedWindow>(), "bytes", 40.0);
    report.line("quota rollover, whose state takes 16", bytes_a_key::<QuotaRollover>(), "bytes", 48.0);
    for keys in [1, 10_000, 1_000_000, 10_000_000] {
        integers(&mut report, keys);
    }
    texts(&mut report, 1_000_000);
    one_hot_key_on_two_threads(&mut report);
    println!(
        "\n{}",
        if report.failed == 0 {
            "all as promised".into()
        } else {
            format!("{} not as promised", report.failed)
        }
    );
    std::process::exit(i32::from(report.failed > 0));
}

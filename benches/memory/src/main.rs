//! Times checks in memory beside other limiters' and a bare table's, in turns and in one process, and holds the ratios
//! against what is promised. Only the ratios travel from machine to machine.

use std::hint::black_box;
use std::io;
use std::num::NonZeroU32;
use std::process::ExitCode;

use futures_util::FutureExt;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use traffik_backends::{CoarseClock, Memory, MonotonicClock};
use traffik_bench_support::Bound::AtMost;
use traffik_bench_support::{Contender, INSTRUCTIONS, Report, asked};
use traffik_core::{
    Clock, Decision, FixedWindow, Gcra, Hit, Limiter, ManualClock, QuotaRollover, Rate, StorageError,
    Strategy,
};

mod bare;
mod flood;
mod race;
mod threads;

use bare::Bare;
use flood::{CHECKED, CHECKED_SHARED};
use race::{batches, each, each_at, race};

/// Keys in a batch.
const BATCH: usize = 1_024;

/// Checks of each kind, over which instructions are averaged.
const CHECKS: u64 = 10_000;

fn gcra() -> Gcra {
    Gcra::new(Rate::per_second(1_000)).burst(1_000).expect("a burst of 1000 can be counted")
}

fn ours<C: Clock>(keys: u64, clock: C) -> Limiter<Gcra, Memory<Gcra, C>> {
    Limiter::new(gcra(), Memory::builder().capacity(keys as usize).clock(clock).build())
}

fn governor<K: std::hash::Hash + Eq + Clone>() -> DefaultKeyedRateLimiter<K> {
    RateLimiter::keyed(Quota::per_second(NonZeroU32::new(1_000).expect("is not 0")))
}

/// Keeps the compiler from leaving out an answer that no one looks at.
fn seen<T>(answer: T) {
    black_box(answer);
}

fn admits(answer: Result<Decision, StorageError>) -> bool {
    answer.is_ok_and(|decision| decision.is_allowed())
}

fn at(cost: u32) -> Hit {
    Hit::new(cost)
}

fn integers(report: &mut Report, keys: u64) {
    report.head(format_args!("{keys} keys of 64 bits, ns a check"));
    let (governor, gcra) = (governor::<u64>(), gcra::RateLimiter::<u64>::new(keys as usize * 2));
    let quota = gcra::RateLimit::per_sec(1_000);
    let clock = MonotonicClock::default();
    let (exact, coarse) = (ours(keys, clock.clone()), ours(keys, CoarseClock::default()));
    let (single, many) = (ours(keys, ManualClock::default()), ours(keys, ManualClock::default()));
    let (bare, padded, batched) = (Bare::<0>::new(keys), Bare::<3>::new(keys), Bare::<0>::new(keys));
    let contenders: [Contender<'_, Vec<u64>>; 9] = [
        ("governor", each(|key| seen(governor.check_key(key).is_ok()))),
        ("gcra", each(|key| seen(gcra.check(*key, &quota, 1).now_or_never().is_some_and(|it| it.is_ok())))),
        ("default clock", each(|key| seen(admits(exact.check(key))))),
        ("coarse clock", each(|key| seen(admits(coarse.check(key))))),
        ("time given", each_at(|key, now| seen(admits(single.check_at(key, &at(1), now))))),
        (
            "in batches",
            batches(BATCH, |keys, now| {
                many.storage().clock().set(now);
                many.check_many(keys, |_, answer| seen(admits(answer)));
            }),
        ),
        ("bare table", each_at(|key, now| seen(bare.check(*key, now.as_micros())))),
        (
            "bare table in batches",
            batches(BATCH, |keys, now| batched.check_many(keys, now.as_micros(), seen)),
        ),
        (
            "bare table, slots as large as ours, default clock",
            each(|key| seen(padded.check(*key, clock.now().as_micros()))),
        ),
    ];
    let [governor, _, exact, coarse, at, many, bare, batched, padded] = race(report, keys, contenders);
    let (bound, of_coarse) = match keys {
        0..=10_000 => (0.6, None),
        10_001..=1_000_000 => (0.7, Some(0.3)),
        _ => (0.5, Some(0.3)),
    };
    report.line("default clock, over governor", exact / governor, "x", Some(AtMost(bound)));
    if let Some(bound) = of_coarse {
        report.line("coarse clock, over governor", coarse / governor, "x", Some(AtMost(bound)));
    }
    report.line("time given, over the bare table", at / bare, "x", Some(AtMost(1.5)));
    report.line("in batches, over the bare table in batches", many / batched, "x", Some(AtMost(1.5)));
    report.line("default clock, over the bare table with as much", exact / padded, "x", Some(AtMost(1.3)));
}

fn texts(report: &mut Report, keys: u64) {
    report.head(format_args!("{keys} keys of 15 bytes, ns a check"));
    let names: Vec<String> = (0..keys).map(|key| format!("user-{key:010}")).collect();
    let (governor, exact) = (governor::<String>(), ours(keys, MonotonicClock::default()));
    let name = |key: &u64| names.get(*key as usize).expect("each key has one");
    let contenders: [Contender<'_, Vec<u64>>; 2] = [
        ("governor", each(|key| seen(governor.check_key(name(key)).is_ok()))),
        ("default clock", each(|key| seen(admits(exact.check(name(key).as_str()))))),
    ];
    let [governor, exact] = race(report, keys, contenders);
    report.line("default clock, over governor", exact / governor, "x", Some(AtMost(0.6)));
}

/// Bytes that a storage for a million keys takes, all in, for each of them.
fn bytes_a_key<S: Strategy>() -> f64 {
    const KEYS: usize = 1_000_000;
    let mut kept = None;
    let taken = allocation_counter::measure(|| kept = Some(Memory::<S>::new(KEYS)));
    drop(kept);
    taken.bytes_current as f64 / KEYS as f64
}

fn main() -> io::Result<ExitCode> {
    if let Some((kind, checks)) = asked() {
        flood::counted(&kind, checks);
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    report.head("bytes a key, of a million");
    report.line("fixed window", bytes_a_key::<FixedWindow>(), "bytes", Some(AtMost(40.0)));
    report.line(
        "quota rollover, whose state takes 16",
        bytes_a_key::<QuotaRollover>(),
        "bytes",
        Some(AtMost(48.0)),
    );
    for keys in [1, 10_000, 1_000_000, 10_000_000] {
        integers(&mut report, keys);
    }
    texts(&mut report, 1_000_000);
    threads::hot_key(&mut report);
    threads::keys_of_their_own(&mut report, 1_000_000);
    flood::flood(&mut report);
    report.head("instructions a check");
    let (known, new) = (CHECKED.each("known", CHECKS)?, CHECKED.each("new", CHECKS)?);
    report.line("known key", known, INSTRUCTIONS, None);
    report.line("new key in two full sets, the most a check can take", new, INSTRUCTIONS, None);
    let shared = CHECKED_SHARED.each("shared known", CHECKS)?;
    report.line("known key in a memory for any strategy", shared, INSTRUCTIONS, None);
    report.line("the same, over a memory for one", shared / known, "x", Some(AtMost(2.5)));
    Ok(report.end())
}

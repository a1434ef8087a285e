//! The kinds of contenders, and their race.

use std::time::Instant;

use traffik_bench_support::{self as support, Contender, Report};
use traffik_core::Timestamp;

/// Rounds of each contender, of which the median counts.
pub(crate) const ROUNDS: usize = 7;
/// Checks in a round.
pub(crate) const CHECKS: usize = 1_000_000;

/// A round of a contender: checks keys, and returns the nanoseconds of a check.
type Round<'a> = Box<dyn FnMut(&Vec<u64>) -> f64 + 'a>;

fn timed<'a>(mut run: impl FnMut(&[u64]) + 'a) -> Round<'a> {
    Box::new(move |keys| {
        let began = Instant::now();
        run(keys);
        began.elapsed().as_nanos() as f64 / keys.len() as f64
    })
}

/// A contender that checks one key after another.
pub(crate) fn each<'a>(check: impl Fn(&u64) + 'a) -> Round<'a> {
    timed(move |keys| keys.iter().for_each(&check))
}

/// The step of the time given with every check, in microseconds: as much as one hit takes, so that all are
/// admitted.
const HIT: u64 = 1_000;

/// A contender that checks at a time given.
pub(crate) fn each_at<'a>(check: impl Fn(&u64, Timestamp) + 'a) -> Round<'a> {
    let mut now = Timestamp::from_micros(1_800_000_000_000_000);
    timed(move |keys| {
        for key in keys {
            now = now.plus_micros(HIT);
            check(key, now);
        }
    })
}

/// A contender that checks so many keys at a time.
pub(crate) fn batches<'a>(size: usize, check: impl Fn(&[u64], Timestamp) + 'a) -> Round<'a> {
    let mut now = Timestamp::from_micros(1_800_000_000_000_000);
    timed(move |keys| {
        for batch in keys.chunks(size) {
            now = now.plus_micros(HIT * batch.len() as u64);
            check(batch, now);
        }
    })
}

/// Nanoseconds a check of each takes: the median of rounds in turns. Each has seen every key before.
pub(crate) fn race<const N: usize>(
    report: &mut Report,
    keys: u64,
    mut contenders: [Contender<'_, Vec<u64>>; N],
) -> [f64; N] {
    let all: Vec<u64> = (0..keys).collect();
    for (_, run) in &mut contenders {
        run(&all);
    }
    let mut random = 88_172_645_463_325_252u64;
    let times =
        support::race(ROUNDS, &mut contenders, || (0..CHECKS).map(|_| next(&mut random) % keys).collect());
    for ((name, _), time) in contenders.iter().zip(times) {
        report.line(name, time, "ns", None);
    }
    times
}

/// Marsaglia's xorshift.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

//! Contenders in turns, and what is held against a promise.

use std::time::Instant;

use traffik_core::Timestamp;

/// Rounds of each contender, of which the median counts.
pub const ROUNDS: usize = 7;
/// Checks in a round.
pub const CHECKS: usize = 1_000_000;

/// A contender: what it is called, and a round of it.
pub type Contender<'a> = (&'a str, Box<dyn FnMut(&[u64]) + 'a>);

/// A contender that checks one key after another.
pub fn each<'a>(check: impl Fn(&u64) + 'a) -> Box<dyn FnMut(&[u64]) + 'a> {
    Box::new(move |keys| keys.iter().for_each(&check))
}

/// How far the time given moves on with every check, in microseconds: as much as one hit takes, so that all are admitted.
const HIT: u64 = 1_000;

/// A contender that is told the time.
pub fn each_at<'a>(check: impl Fn(&u64, Timestamp) + 'a) -> Box<dyn FnMut(&[u64]) + 'a> {
    let mut now = Timestamp::from_micros(1_800_000_000_000_000);
    Box::new(move |keys| {
        for key in keys {
            now = now.plus_micros(HIT);
            check(key, now);
        }
    })
}

/// A contender that checks so many keys at a time.
pub fn batches<'a>(size: usize, check: impl Fn(&[u64], Timestamp) + 'a) -> Box<dyn FnMut(&[u64]) + 'a> {
    let mut now = Timestamp::from_micros(1_800_000_000_000_000);
    Box::new(move |keys| {
        for batch in keys.chunks(size) {
            now = now.plus_micros(HIT * batch.len() as u64);
            check(batch, now);
        }
    })
}

/// Nanoseconds a check of each takes, round by round in turns: the median. Each has seen every key before.
pub fn race(keys: u64, contenders: &mut [Contender<'_>]) -> Vec<f64> {
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
    let times: Vec<f64> = times.into_iter().map(median).collect();
    for ((name, _), time) in contenders.iter().zip(&times) {
        println!("  {name:<52} {time:>8.2} ns");
    }
    times
}

pub fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Marsaglia's xorshift.
pub fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// What was promised and not kept.
#[derive(Default)]
pub struct Report {
    pub failed: usize,
}

impl Report {
    /// Holds a figure against its bound.
    pub fn line(&mut self, what: &str, figure: f64, unit: &str, bound: f64) {
        let kept = figure <= bound;
        self.failed += usize::from(!kept);
        println!(
            "  {what:<52} {figure:>8.2} {unit:<9} bound {bound}: {}",
            if kept { "pass" } else { "FAIL" }
        );
    }
}

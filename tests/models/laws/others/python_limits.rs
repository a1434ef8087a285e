//! Python's limits 5.8.0 beside ours: its fixed, its moving and its sliding window decide the same hits.
//!
//! Times are multiples of 1/64 s and periods powers of two, so that its floats are exact.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use traffik::{FixedWindow, HeapLog, Hit, Rate, SlidingWindow, Strategy, Timestamp, Verdict};
use traffik_test_support::folder;

/// Microseconds in 1/64 s.
const TICK: u64 = 15_625;
const RUNS: u64 = 600;

/// A limit, its period in seconds, and hits at so many ticks, with their costs.
struct Run {
    limit: u32,
    period: u64,
    hits: Vec<(u64, u32)>,
}

/// Numbers without a pattern, the same each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

impl Run {
    /// A run of hits that come as fast as the limit, on the whole.
    fn new(seed: u64, most_cost: u64) -> Self {
        let mut draw = Draw(seed);
        let (limit, period) = (1 + draw.below(20), 1 << draw.below(6));
        let pause = 1 + 128 * period / limit;
        let mut at = 1_000_000 * 64 + draw.below(1_000_000);
        let hits = (0..200).map(|_| {
            at += if draw.below(20) == 0 { draw.below(3 * 64 * period) } else { draw.below(pause) };
            (at, 1 + draw.below(most_cost) as u32)
        });
        Self { hits: hits.collect(), limit: limit as u32, period }
    }

    fn rate(&self) -> Rate {
        Rate::new(self.limit, Duration::from_secs(self.period)).unwrap()
    }

    /// How many ticks are a period.
    fn ticks(&self) -> u64 {
        64 * self.period
    }

    fn decided<S: Strategy<Cost = u32>>(&self, strategy: &S) -> Vec<bool> {
        let mut state = S::State::default();
        let decide = |&(at, cost): &(u64, u32)| {
            strategy.decide(&mut state, &Hit::new(cost), Timestamp::from_micros(at * TICK)).is_allowed()
        };
        self.hits.iter().map(decide).collect()
    }

    fn line(&self, strategy: &str) -> String {
        let hits: Vec<_> = self.hits.iter().map(|(at, cost)| json!([*at as f64 / 64.0, cost])).collect();
        json!({ "strategy": strategy, "limit": self.limit, "period": self.period, "hits": hits }).to_string()
    }
}

/// The decisions of the Python library in each run.
fn theirs(strategy: &str, runs: &[Run]) -> Vec<Vec<bool>> {
    let python = folder::target().join("python/bin/python3");
    assert!(python.exists(), "it must be there: scripts/install python3=python3 python:limits==VERSION");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("laws/others/python_limits.py");
    let mut decider = Command::new("timeout");
    decider.arg("60").arg(python).arg(program).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut decider = decider.spawn().unwrap();
    let mut input = decider.stdin.take().unwrap();
    let lines: String = runs.iter().map(|run| run.line(strategy) + "\n").collect();
    // Both pipes are in use at the same time, so that neither fills up.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = decider.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{strategy} is not decided");
    let told = String::from_utf8(output.stdout).unwrap();
    let bools = |line: &str| {
        let answers: Vec<Value> = serde_json::from_str(line).unwrap();
        answers.iter().map(|answer| answer.as_bool().unwrap()).collect()
    };
    told.lines().map(bools).collect()
}

/// Holds the decisions of each run against each other.
fn agree<S: Strategy<Cost = u32>>(strategy: &str, runs: &[Run], limit: impl Fn(Rate) -> S) {
    let theirs = theirs(strategy, runs);
    assert_eq!(theirs.len(), runs.len());
    let mut answers = BTreeSet::new();
    for (run, theirs) in runs.iter().zip(theirs) {
        let (own, rate) = (run.decided(&limit(run.rate())), run.rate());
        let differs = own.iter().zip(&theirs).position(|(own, theirs)| own != theirs);
        let hits = &run.hits[..differs.map_or(0, |at| at + 1)];
        assert_eq!(differs, None, "{strategy} at {rate:?}: ours, then theirs: {own:?} {theirs:?} {hits:?}");
        answers.extend(own);
    }
    assert_eq!(answers.len(), 2, "there are hits that pass and hits that do not");
}

/// Its windows begin with their first hit, ours with the clock: the first hit of each window is moved to
/// where that begins. It counts what it denies, too, so all costs are 1.
#[test]
fn a_fixed_window_decides_as_theirs() {
    let mut runs: Vec<_> = (0..RUNS).map(|seed| Run::new(seed, 1)).collect();
    for run in &mut runs {
        let (ticks, mut window) = (run.ticks(), 0);
        for (at, _) in &mut run.hits {
            if *at / ticks > window {
                window = *at / ticks;
                *at = window * ticks;
            }
        }
    }
    agree("fixed", &runs, FixedWindow::new);
}

/// A hit counts there up to and including the end of its period, ours not including it: hits that come just a
/// period after another are left out.
#[test]
fn a_log_decides_as_their_moving_window() {
    let mut runs: Vec<_> = (0..RUNS).map(|seed| Run::new(seed, 3)).collect();
    for run in &mut runs {
        let ticks = run.ticks();
        let mut seen = BTreeSet::new();
        run.hits.retain(|(at, _)| {
            let is_kept = !seen.contains(&(at - ticks));
            seen.extend(is_kept.then_some(*at));
            is_kept
        });
    }
    agree("moving", &runs, |rate| HeapLog::new(rate).unwrap());
}

#[test]
fn a_sliding_window_decides_as_their_counter() {
    let runs: Vec<_> = (0..RUNS).map(|seed| Run::new(seed, 3)).collect();
    agree("sliding", &runs, SlidingWindow::new);
}

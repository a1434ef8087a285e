//! A hot key that tasks of several processes ask for at once.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use traffik_backends::{MemcachedStorage, RedisStorage, SystemClock};
use traffik_bench_support::Bound::{AtLeast, AtMost, Within};
use traffik_bench_support::Report;
use traffik_core::storage::AsyncStorage;
use traffik_core::strategy::Bounds;
use traffik_core::{
    AsyncLimiter, Clock, FixedWindow, Gcra, HeapLog, LeakyBucket, LeakyBucketQueue, QuotaRollover, Rate,
    SlidingWindow, Strategy, Timestamp, TokenBucket, Verdict,
};
use traffik_runtimes::Tokio;

/// How long four processes ask for one key.
const STORM: Duration = Duration::from_secs(8);

/// Asks for one key from 64 tasks until the time is over: how many were admitted, how many asked, and the times taken.
fn storm<S: Strategy<Cost = u32>>(
    runtime: &Runtime,
    storage: impl AsyncStorage<S> + 'static,
    limit: S,
) -> String {
    let limiter = Arc::new(AsyncLimiter::new(limit, storage));
    runtime.block_on(async {
        let (began, at) = (Instant::now(), SystemClock.now().as_micros());
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move {
                    let (mut admitted, mut times) = (0u64, Vec::new());
                    while began.elapsed() < STORM {
                        let asked = Instant::now();
                        let verdict = limiter.check("hot").await.expect("an answer");
                        admitted += u64::from(verdict.outcome().is_allowed());
                        times.push(asked.elapsed());
                    }
                    (admitted, times)
                })
            })
            .collect();
        let (mut admitted, mut times) = (0, Vec::new());
        for task in tasks {
            let (more, took) = task.await.expect("a task that does not panic");
            admitted += more;
            times.extend(took);
        }
        times.sort_unstable();
        let p99 = times.get(times.len() * 99 / 100).map_or(0, Duration::as_micros);
        format!("{admitted} {} {p99} {at}", times.len())
    })
}

/// The limits that are stormed.
const STORMED: [&str; 9] = [
    "fixed-window",
    "sliding-window",
    "sliding-window:strict",
    "sliding-log",
    "token-bucket",
    "leaky-bucket",
    "leaky-bucket-queue",
    "gcra",
    "quota-rollover",
];

/// An action on one of the strategies.
trait Act {
    type Outcome;
    fn on<S: Strategy<Cost = u32> + Bounds>(self, limit: S) -> Self::Outcome;
}

fn with<A: Act>(strategy: &str, act: A) -> A::Outcome {
    let rate: Rate = "1000/10s".parse().expect("a rate");
    match strategy {
        "fixed-window" => act.on(FixedWindow::new(rate)),
        "sliding-window" => act.on(SlidingWindow::new(rate)),
        "sliding-window:strict" => act.on(SlidingWindow::strict::<10>(rate)),
        "sliding-log" => act.on(HeapLog::new(rate).expect("room for it")),
        "token-bucket" => act.on(TokenBucket::new(rate)),
        "leaky-bucket" => act.on(LeakyBucket::new(rate)),
        "leaky-bucket-queue" => act.on(LeakyBucketQueue::new(rate)),
        "gcra" => act.on(Gcra::new(rate).burst(1_000).expect("can be counted")),
        _ => act.on(QuotaRollover::new(rate)),
    }
}

/// Asks as one of the four processes.
struct Storm<'a> {
    runtime: &'a Runtime,
    url: &'a str,
    strategy: &'a str,
}

impl Act for Storm<'_> {
    type Outcome = String;

    fn on<S: Strategy<Cost = u32> + Bounds>(self, limit: S) -> String {
        const PATIENCE: Duration = Duration::from_secs(5);
        let Self { runtime, url, strategy } = self;
        if url.starts_with("redis") {
            let storage = RedisStorage::url(url).expect("an address").namespace(strategy).timeout(PATIENCE);
            return storm(runtime, storage.build().expect("a storage"), limit);
        }
        let storage =
            MemcachedStorage::url(Tokio, url).expect("an address").namespace(strategy).timeout(PATIENCE);
        storm(runtime, storage.build().expect("a storage"), limit)
    }
}

/// Storms as one of the four processes, if this program is one, and returns the line it is to print.
pub(crate) fn asked(runtime: &Runtime) -> Option<String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [storm, url, strategy] = &arguments[..] else { return None };
    (storm == "storm").then(|| with(strategy, Storm { runtime, url, strategy }))
}

/// The least that a limit admits in the time in which all processes ask, and the most in the time in which
/// any does.
struct Bound {
    all: (Timestamp, Timestamp),
    any: (Timestamp, Timestamp),
}

impl Act for Bound {
    type Outcome = (u64, u64);

    fn on<S: Strategy<Cost = u32> + Bounds>(self, limit: S) -> (u64, u64) {
        let least = limit.least(self.all.0, self.all.1, 1);
        (least as u64, limit.most(self.any.0, self.any.1) as u64)
    }
}

/// The bounds of a store.
pub(crate) struct Promise {
    /// Checks a second of all processes, at least.
    pub(crate) checks: f64,
    /// The milliseconds that 99 of 100 checks take at most.
    pub(crate) p99: f64,
}

/// Four processes with 64 tasks each on one key.
pub(crate) fn storms(report: &mut Report, url: &str, promise: &Promise) {
    report.head("4 processes of 64 tasks on one key, 1000 per 10 s, for 8 s");
    for strategy in STORMED {
        let program = std::env::current_exe().expect("this program");
        let began = SystemClock.now();
        let processes: Vec<_> = (0..4)
            .map(|_| Command::new(&program).args(["storm", url, strategy]).stdout(Stdio::piped()).spawn())
            .collect();
        let (mut admitted, mut asked, mut p99) = (0, 0, 0);
        let (mut earliest, mut latest) = (Timestamp::MAX, Timestamp::EPOCH);
        for process in processes {
            let output = process.and_then(Child::wait_with_output).expect("a process");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let numbers: Vec<u64> =
                text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            let [more, calls, slow, at] = <[u64; 4]>::try_from(numbers).expect("the line of `storm`");
            (admitted, asked, p99) = (admitted + more, asked + calls, p99.max(slow));
            let at = Timestamp::from_micros(at);
            (earliest, latest) = (earliest.min(at), latest.max(at));
        }
        let (mut least, most) =
            with(strategy, Bound { all: (latest, earliest + STORM), any: (began, SystemClock.now()) });
        if strategy == "leaky-bucket" {
            // Without a burst, what drains between one admission and the next one who asks is lost: here up to 0.1 of 10 ms.
            least -= least / 100;
        }
        let (checks, p99) = (asked / STORM.as_secs(), p99 as f64 / 1_000.0);
        let admits = Some(Within(least as f64, most as f64));
        report.line(format_args!("{strategy}, admitted"), admitted as f64, "hits", admits);
        report.line("  asked", checks as f64, "checks/s", Some(AtLeast(promise.checks)));
        report.line("  answered within, but for 1 %", p99, "ms", Some(AtMost(promise.p99)));
    }
}

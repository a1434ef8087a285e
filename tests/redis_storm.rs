//! Four processes ask for the same keys for three seconds on a Redis server's own clock: each script admits as much as its
//! limit does at most, and as much as it does at least.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod servers;

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use servers::{Redis, Reply};
use traffik::strategy::Bounds;
use traffik::{
    AsyncLimiter, FixedWindow, HeapLog, Hours, LeakyBucketQueue, QuotaRollover, Rate, Ratio, RedisStorage,
    SlidingWindow, Strategy, TimeOfDay, Timestamp, TokenBucket, Verdict,
};

const TIME: Duration = Duration::from_secs(3);
const PROCESSES: usize = 4;
/// Tasks of one process that ask for one key.
const TASKS: usize = 3;
/// Where the server is, for a process that is started to ask.
const URL: &str = "STORMED_SERVER";

fn rate() -> Rate {
    Rate::new(60, Duration::from_millis(500)).unwrap()
}

fn hours() -> [Hours; 1] {
    [Hours::new((0, 0), (24, 0), Ratio::new(1, 2).unwrap())]
}

/// Calls a function with each limit, by name.
macro_rules! each_limit {
    ($ask:ident) => {
        $ask!("window", FixedWindow::new(rate()));
        $ask!("sliding", SlidingWindow::new(rate()));
        $ask!("strict", SlidingWindow::strict::<10>(rate()));
        $ask!("log", HeapLog::new(rate()).unwrap());
        $ask!("bucket", TokenBucket::new(rate()));
        $ask!("queue", LeakyBucketQueue::new(rate()).queue(20).unwrap());
        $ask!("rollover", QuotaRollover::new(rate()));
        $ask!("hours", TimeOfDay::new(TokenBucket::new(rate()), hours()).unwrap());
        $ask!("hours-log", TimeOfDay::new(HeapLog::new(rate()).unwrap(), hours()).unwrap());
    };
}

/// How often one limit is passed until the time is over.
async fn ask<S: Strategy<Cost = u32>>(storage: RedisStorage, key: &'static str, limit: S) -> u64 {
    let (limiter, until) = (Arc::new(AsyncLimiter::new(limit, storage)), Instant::now() + TIME);
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let limiter = limiter.clone();
        tasks.push(tokio::spawn(async move {
            let mut admitted = 0;
            while Instant::now() < until {
                admitted += u64::from(limiter.check(key).await.unwrap().outcome().is_allowed());
            }
            admitted
        }));
    }
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    admitted
}

#[test]
#[ignore = "one of the processes that the other test starts"]
fn a_process_that_asks() {
    let Ok(url) = std::env::var(URL) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let storage = RedisStorage::url(&url).unwrap().timeout(Duration::from_secs(20)).build().unwrap();
        let mut asked = Vec::new();
        macro_rules! spawn {
            ($name:literal, $limit:expr) => {
                asked.push(($name, tokio::spawn(ask(storage.clone(), $name, $limit))));
            };
        }
        each_limit!(spawn);
        for (name, admitted) in asked {
            println!("\nadmitted {name} {}", admitted.await.unwrap());
        }
    });
}

fn started(url: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", "a_process_that_asks", "--ignored", "--nocapture"];
    Command::new(program).args(arguments).env(URL, url).stdout(Stdio::piped()).spawn().unwrap()
}

fn now(server: &Redis) -> Timestamp {
    let Reply::Array(time) = server.command(&["TIME"]) else { panic!("no time") };
    let number = |reply: &Reply| match reply {
        Reply::Bulk(text) => String::from_utf8_lossy(text).parse::<u64>().unwrap(),
        other => panic!("{other:?} is no part of a time"),
    };
    Timestamp::from_micros(number(&time[0]) * 1_000_000 + number(&time[1]))
}

#[test]
fn four_processes_are_admitted_the_limit() {
    let server = Redis::start();
    let first = now(&server);
    let processes: Vec<Child> = (0..PROCESSES).map(|_| started(&server.url())).collect();
    let mut admitted: HashMap<String, u64> = HashMap::new();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some((name, count)) = line.strip_prefix("admitted ").and_then(|line| line.split_once(' '))
            {
                *admitted.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap();
            }
        }
    }
    let last = now(&server);
    macro_rules! judge {
        ($name:literal, $limit:expr) => {
            let admitted = u128::from(admitted[$name]);
            let most = $limit.most(first, last);
            // Each process asks for three seconds without pause, wherever in a period they begin.
            let least = $limit.least(first, first + (TIME - rate().period()), 1);
            println!("{}: {least} <= {admitted} <= {most}", $name);
            assert!(least <= admitted && admitted <= most, "{}: {least} <= {admitted} <= {most}", $name);
        };
    }
    each_limit!(judge);
}

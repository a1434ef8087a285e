//! Four processes ask for the same keys of one server for three seconds: each limit admits as much as it does at most, and as
//! much as it does at least. The server is on this machine, so it is one clock by which Redis and Memcached's clients go.
//! At least means: in the periods in which one process asked all the time. A period in which it began or stopped may have
//! had too little of it left for anybody to be admitted all that the limit allows.

use std::collections::HashMap;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use traffik::runtime::Tokio;
use traffik::storage::AsyncStorage;
use traffik::strategy::Bounds;
use traffik::{
    AsyncLimiter, Clock, FixedWindow, HeapLog, Hours, MemcachedStorage, Rate, Ratio, RedisStorage, Strategy,
    SystemClock, TimeOfDay, Timestamp, TokenBucket, Verdict,
};
use traffik_test_support::program;
use traffik_test_support::servers::{Memcached, Redis};

const TIME: Duration = Duration::from_secs(3);
/// Of all the limits.
const LONGEST_PERIOD: Duration = Duration::from_secs(1);
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

/// Calls a macro with each limit, by name: every strategy, and some that are set up otherwise.
macro_rules! each_limit {
    ($ask:ident) => {
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                $ask!(stringify!($name), make(rate()).unwrap());
            };
        }
        traffik::every_strategy!(each);
        $ask!("counted", FixedWindow::new(Rate::per_second(120)));
        $ask!("heap-log", HeapLog::new(rate()).unwrap());
        $ask!("hours", TimeOfDay::new(TokenBucket::new(rate()), hours()).unwrap());
        $ask!("hours-log", TimeOfDay::new(HeapLog::new(rate()).unwrap(), hours()).unwrap());
    };
}

/// Asks for one limit for as long as the time is. When it began, with its first answer, and how often it passed.
async fn ask<S: Strategy<Cost = u32>, M: AsyncStorage<S> + 'static>(
    storage: M,
    key: &'static str,
    strategy: S,
) -> (Timestamp, u64) {
    let limiter = Arc::new(AsyncLimiter::new(strategy, storage));
    let mut admitted = u64::from(limiter.check(key).await.unwrap().outcome().is_allowed());
    let from = SystemClock.now();
    let until = from + TIME;
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let limiter = limiter.clone();
        tasks.push(tokio::spawn(async move {
            let mut admitted = 0;
            while SystemClock.now() < until {
                admitted += u64::from(limiter.check(key).await.unwrap().outcome().is_allowed());
            }
            admitted
        }));
    }
    for task in tasks {
        admitted += task.await.unwrap();
    }
    (from, admitted)
}

#[test]
#[ignore = "one of the processes that the other test starts"]
fn a_process_that_asks() {
    let Ok(url) = std::env::var(URL) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    macro_rules! asked_of {
        ($storage:expr) => {{
            let storage = $storage.timeout(Duration::from_secs(20)).build().unwrap();
            let mut asked = Vec::new();
            macro_rules! spawn {
                ($name:expr, $limit:expr) => {
                    asked.push(($name, tokio::spawn(ask(storage.clone(), $name, $limit))));
                };
            }
            each_limit!(spawn);
            for (name, asked) in asked {
                let (from, admitted) = asked.await.unwrap();
                println!("\nasked {name} {} {admitted}", from.as_micros());
            }
        }};
    }
    runtime.block_on(async {
        if url.starts_with("redis") {
            asked_of!(RedisStorage::url(&url).unwrap());
        } else {
            asked_of!(MemcachedStorage::url(Tokio, &url).unwrap());
        }
    });
}

fn started(url: &str) -> Child {
    let mut process = program::again(module_path!(), "a_process_that_asks");
    process.arg("--ignored").env(URL, url).stdout(Stdio::piped()).spawn().unwrap()
}

#[test]
fn four_processes_on_redis_are_admitted_the_limit() {
    four_processes_are_admitted_the_limit(&Redis::start().url());
}

#[test]
fn four_processes_on_memcached_are_admitted_the_limit() {
    let server = Memcached::start();
    four_processes_are_admitted_the_limit(&format!("memcached://{}", server.address()));
}

fn four_processes_are_admitted_the_limit(url: &str) {
    let first = SystemClock.now();
    let processes: Vec<Child> = (0..PROCESSES).map(|_| started(url)).collect();
    // Of each limit, when one of the processes began to ask, and how often all of them passed.
    let mut asked: HashMap<String, (Timestamp, u64)> = HashMap::new();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some(("asked", told)) = line.split_once(' ') else { continue };
            let [name, from, admitted] = told.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let from = Timestamp::from_micros(from.parse().unwrap());
            asked.entry(name.to_owned()).or_insert((from, 0)).1 += admitted.parse::<u64>().unwrap();
        }
    }
    let last = SystemClock.now();
    macro_rules! judge {
        ($name:expr, $limit:expr) => {
            let (from, admitted) = asked[$name];
            let admitted = u128::from(admitted);
            let most = $limit.most(first, last);
            let least = $limit.least(from + LONGEST_PERIOD, from + (TIME - LONGEST_PERIOD), 1);
            println!("{}: {least} <= {admitted} <= {most}", $name);
            assert!(least <= admitted && admitted <= most, "{}: {least} <= {admitted} <= {most}", $name);
        };
    }
    each_limit!(judge);
}

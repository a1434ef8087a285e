//! Hosts whose clocks differ, by seconds or by days, on a real server: they go by the server's.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use traffik::runtime::{Runtime, Tokio};
use traffik::storage::AsyncStorage;
use traffik::strategy::Bounds;
use traffik::{
    All, AsyncLimiter, Clock, FixedWindow, Gcra, HeapLog, LeakyBucketQueue, ManualClock, MemcachedStorage,
    Outcome, Rate, SlidingWindow, Strategy, SystemClock, Timer, Timestamp, TokenBucket, Verdict,
};

use super::{Off, SERVER, count, run};

const SECOND: u64 = 1_000_000;
const DAY: i64 = 86_400_000_000;

/// How far the times of two hosts may be apart.
const APART: u64 = 2 * SECOND;

fn host(namespace: &str, off: i64) -> MemcachedStorage<Tokio> {
    let storage = MemcachedStorage::servers(Tokio, [SERVER.address().to_string()]).namespace(namespace);
    storage.host_clock(Off(off)).timeout(Duration::from_secs(5)).build().unwrap()
}

fn per(limit: u32, seconds: u64) -> Rate {
    Rate::new(limit, Duration::from_secs(seconds)).unwrap()
}

/// Hosts admit together at most what the limit admits in a span that is longer by how far their times may
/// be apart, whatever their own clocks, and each of them has a share of it.
#[test]
fn hosts_of_any_clocks_admit_what_one_would() {
    fn together<S: Strategy<Cost = u32> + Bounds>(name: &str, strategy: S) {
        for (number, offs) in
            [[0, 300_000_000, 5_000_000], [-3 * DAY, 0, 2 * DAY], [0, -5_000_000, -40 * DAY]]
                .iter()
                .enumerate()
        {
            let namespace = format!("clocks-{number}");
            let hosts = offs.map(|off| AsyncLimiter::new(strategy.clone(), host(&namespace, off)));
            run(async {
                let (first, mut admitted) = (present(hosts[0].storage()).await, [0u128; 3]);
                for turn in 0..600 {
                    let told = hosts[turn % 3].check(name).await.unwrap();
                    admitted[turn % 3] += u128::from(told.outcome().is_allowed());
                }
                let last = present(hosts[0].storage()).await.plus_micros(APART);
                let most = strategy.most(Timestamp::from_micros(first.as_micros() - APART), last);
                let least = strategy.most(first, first);
                let sum: u128 = admitted.iter().sum();
                assert!((least..=most).contains(&sum), "{name} {offs:?}: {admitted:?} of {least} to {most}");
                assert!(admitted.iter().all(|it| *it >= least / 4), "{name} {offs:?}: {admitted:?}");
            });
        }
    }
    together("window", FixedWindow::new(per(10, 1)));
    together("long", FixedWindow::new(per(24, 10)));
    together("token", TokenBucket::new(per(20, 2)));
    together("gcra", Gcra::new(per(20, 2)).burst(8).unwrap());
    together("sliding", SlidingWindow::new(per(20, 2)));
    together("log", HeapLog::new(per(20, 2)).unwrap());
}

/// A host whose clock is behind waits no longer than the limit says.
#[test]
fn a_host_that_is_behind_waits_no_longer() {
    run(async {
        for (name, off) in [("seconds", 5_000_000), ("days", 2 * DAY)] {
            let limit = TokenBucket::new(per(5, 10));
            let [ahead, behind] = [off, 0].map(|off| AsyncLimiter::new(limit, host("behind", off)));
            for _ in 0..5 {
                assert!(ahead.check(name).await.unwrap().is_allowed());
            }
            let told = behind.check(name).await.unwrap();
            let wait = told.retry_after().unwrap();
            assert!(wait <= Duration::from_secs(2 + 2), "{name}: {wait:?}");
        }
    });
}

/// A client by a clock of its own that is set back by an hour gets no wait beyond the limit's, of one
/// limit or of several, and its queue holds nothing for longer.
#[test]
fn a_client_an_hour_back_waits_no_longer_than_its_limit() {
    async fn back<S: Strategy>(name: &str, strategy: S) {
        let (period, max_ttl) = (Duration::from_secs(10), Duration::from_micros(strategy.max_ttl()));
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let storage = MemcachedStorage::servers(Tokio, [SERVER.address().to_string()]).namespace("hour-back");
        let storage = storage.clock(Arc::clone(&clock)).timeout(Duration::from_secs(5)).build().unwrap();
        let limiter = AsyncLimiter::new(strategy, storage);
        for _ in 0..3 {
            assert!(limiter.check(name).await.unwrap().is_allowed(), "{name}");
        }
        clock.set(Timestamp::from_micros(clock.now().as_micros() - 3_600 * SECOND));
        let mut denied = 0;
        for _ in 0..8 {
            let (wait, longest) = match limiter.check(name).await.unwrap().outcome() {
                Outcome::Allow { after } => (after, period),
                Outcome::Deny { retry_after } => {
                    denied += 1;
                    (retry_after, max_ttl)
                }
                Outcome::Never => panic!("{name} admits nothing"),
            };
            assert!(wait <= longest, "{name}: {wait:?}");
        }
        assert!(denied >= 3, "{name}: the clock granted something");
    }
    run(async {
        let (rate, other) = (per(5, 10), per(7, 10));
        back("window", FixedWindow::new(rate)).await;
        back("sliding", SlidingWindow::new(rate)).await;
        back("log", HeapLog::new(rate).unwrap()).await;
        back("token", TokenBucket::new(rate)).await;
        back("gcra", Gcra::new(rate).burst(5).unwrap()).await;
        back("queue", LeakyBucketQueue::new(rate)).await;
        back("pair", (TokenBucket::new(rate), SlidingWindow::new(other))).await;
        back("all", All([TokenBucket::new(rate), TokenBucket::new(other)])).await;
    });
}

/// An item of a limit that lasts longer than a server can be told in seconds outlives it whatever the
/// host's clock.
#[test]
fn long_windows_are_kept_whatever_the_clock() {
    run(async {
        for (name, off) in [("years", -400 * DAY), ("days", -60 * DAY)] {
            let limiter = AsyncLimiter::new(FixedWindow::new(per(5, 200 * 86_400)), host("kept", off));
            let mut admitted = 0;
            for _ in 0..20 {
                admitted += u32::from(limiter.check(name).await.unwrap().is_allowed());
            }
            assert_eq!(admitted, 5, "{name}");
        }
    });
}

/// The time of a storage.
async fn present(storage: &MemcachedStorage<Tokio>) -> Timestamp {
    AsyncStorage::load(storage, &TokenBucket::new(per(5, 10)), &"nobody").await.unwrap().1
}

/// A host's clock that is set.
#[derive(Clone, Default)]
struct Stepping(Arc<AtomicI64>);

impl Clock for Stepping {
    fn now(&self) -> Timestamp {
        Off(self.0.load(Ordering::Relaxed)).now()
    }
}

/// A host's clock may step while it runs: soon after, its times are the server's again.
#[test]
fn a_clock_that_steps_is_corrected() {
    run(async {
        let clock = Stepping::default();
        let storage = MemcachedStorage::servers(Tokio, [SERVER.address().to_string()]).namespace("steps");
        let storage = storage.host_clock(clock.clone()).timeout(Duration::from_secs(5)).build().unwrap();
        for off in [0, 3_600_000_000, -2 * DAY, 5_000_000, 0] {
            clock.0.store(off, Ordering::Relaxed);
            let follows = async {
                while count(&SERVER, &["time"]).abs_diff(present(&storage).await.as_micros() / SECOND) > 2 {
                    Tokio.sleep(Duration::from_millis(20)).await;
                }
            };
            Tokio.timeout(Duration::from_secs(5), follows).await.unwrap();
        }
    });
}

/// A server that says no time: passes on all else that a real one says.
fn timeless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            thread::spawn(move || {
                let mut server = TcpStream::connect(SERVER.address()).unwrap();
                let mut answers = BufReader::new(server.try_clone().unwrap());
                for line in BufReader::new(client.try_clone().unwrap()).lines() {
                    server.write_all(format!("{}\r\n", line.unwrap()).as_bytes()).unwrap();
                    let (mut answer, mut bytes) = (String::new(), String::new());
                    answers.read_line(&mut answer).unwrap();
                    if answer.starts_with("VA") {
                        answers.read_line(&mut bytes).unwrap();
                    }
                    let words: Vec<_> = answer.trim_end().split(' ').collect();
                    let kept = words.iter().filter(|word| !word.starts_with('t'));
                    let kept = kept.copied().collect::<Vec<_>>().join(" ");
                    (&client).write_all(format!("{kept}\r\n{bytes}").as_bytes()).unwrap();
                }
            });
        }
    });
    address
}

/// Where a server says no time, its limits go by the host's clock, and a line says so once.
#[test]
fn a_server_without_a_time_is_warned_of_once() {
    run(async {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&lines);
        let storage = MemcachedStorage::servers(Tokio, [timeless().to_string()]).namespace("timeless");
        let storage = storage.on_warning(move |line| written.lock().unwrap().push(line.to_owned()));
        let storage = storage.timeout(Duration::from_secs(5)).build().unwrap();
        let limiter = AsyncLimiter::new(FixedWindow::new(per(5, 7 * 86_400)), storage);
        let began = SystemClock.now();
        while SystemClock.now().micros_since(began) < SECOND {
            let _ = limiter.check("k").await.unwrap();
        }
        assert!(!limiter.check("k").await.unwrap().is_allowed());
        let lines = lines.lock().unwrap();
        assert!(lines.len() == 1 && lines[0].contains("keep the clocks of all hosts in step"), "{lines:?}");
    });
}

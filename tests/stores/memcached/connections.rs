//! How connections are made, lost and made anew, on real servers: what fails meanwhile, and for how long.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all, poll_immediate};
use traffik::runtime::{Connect, Runtime, Tokio};
use traffik::storage::ErrorKind;
use traffik::{
    AsyncLimiter, FixedWindow, MemcachedBuilder, MemcachedStorage, Rate, Strategy, Timer, TokenBucket,
};
use traffik_test_support::limited::{Count, RECOVERY, recovered, run};
use traffik_test_support::servers::{Memcached, Proxy};

const LONG: Duration = Duration::from_secs(5);

fn at(address: impl ToString) -> MemcachedBuilder<Tokio> {
    MemcachedStorage::servers(Tokio, [address.to_string()]).namespace("c").timeout(LONG)
}

fn window() -> FixedWindow {
    FixedWindow::new(Rate::per_week(100_000))
}

/// Makes all connections that there may be.
async fn warm<S: Strategy<Cost = u32>>(limiter: &AsyncLimiter<S, MemcachedStorage<Tokio>>) {
    for _ in 0..5 {
        for told in join_all((0..64u32).map(|key| limiter.check(&key))).await {
            let _ = told.unwrap();
        }
    }
}

/// Connections that are closed while they lie idle fail no call, on either side that closes them.
#[test]
fn idle_connections_may_be_closed() {
    async fn closed<S: Strategy<Cost = u32>>(strategy: S) {
        // The server closes what is idle for a second.
        let mut server = Memcached::options().arguments(&["-o", "idle_timeout=1"]).start();
        let limiter = AsyncLimiter::new(strategy.clone(), at(server.address()).build().unwrap());
        let mut failures = Vec::new();
        let mut all = async || {
            for told in join_all((0..64u32).map(|key| limiter.check(&key))).await {
                failures.extend(told.err().map(|failure| failure.to_string()));
            }
        };
        all().await;
        server.until_disconnected();
        all().await;
        for _ in 0..3 {
            server.stop();
            server.start_again();
            all().await;
        }
        assert_eq!(failures, [""; 0]);

        let server = Memcached::start();
        let proxy = Proxy::to(server.address());
        let limiter = AsyncLimiter::new(strategy, at(proxy.address()).build().unwrap());
        for _ in 0..10 {
            warm(&limiter).await;
            proxy.cut();
            // They lie idle for a while.
            Tokio.sleep(Duration::from_millis(20)).await;
            assert!(limiter.check("k").await.is_ok());
        }
    }
    run(async {
        closed(window()).await;
        closed(TokenBucket::new(Rate::per_week(100_000))).await;
    });
    super::run(async {
        closed(window()).await;
        closed(TokenBucket::new(Rate::per_week(100_000))).await;
    });
}

/// A counted check takes one round trip, also when the generation is asked for.
#[test]
fn a_server_far_away_takes_one_round_trip() {
    run(async {
        let server = Memcached::start();
        let proxy = Proxy::to(server.address());
        // A round trip of 200 ms: two do not fit into a call.
        proxy.delay(Duration::from_millis(100));
        let storage = at(proxy.address()).timeout(Duration::from_millis(350)).build().unwrap();
        let limiter = Arc::new(AsyncLimiter::new(window(), storage));
        let began = Instant::now();
        while limiter.check("first").await.is_err() {
            assert!(began.elapsed() < RECOVERY * 2, "never connected");
        }
        // The second connection, for the generation, is made meanwhile.
        let mut failed = Vec::new();
        while began.elapsed() < Duration::from_secs(5) {
            let told = limiter.check("k").await;
            if began.elapsed() > Duration::from_secs(2) {
                failed.extend(told.err().map(|failure| failure.to_string()));
            }
        }
        assert_eq!(failed, [""; 0]);
    });
}

/// A caller that notices a cleared namespace counts in the new generation, although it asked in the old one.
#[test]
fn what_was_cleared_meanwhile_counts_anew() {
    run(async {
        let server = Memcached::start();
        for cost in [1, 2] {
            let storage = || at(server.address()).build().unwrap();
            let (mine, other) = (AsyncLimiter::new(window(), storage()), storage());
            assert_eq!(mine.check_n(&cost, cost).await.unwrap().remaining(), 100_000 - cost);
            // By now it asks whether it was.
            Tokio.sleep(Duration::from_millis(700)).await;
            other.clear().await.unwrap();
            assert_eq!(mine.check_n(&cost, cost).await.unwrap().remaining(), 100_000 - cost);
        }
    });
}

/// Connecting takes longer than a call may: it goes on in the background.
#[test]
fn connecting_may_take_longer_than_a_call() {
    run(async {
        let server = Memcached::start();
        let proxy = Proxy::to(server.address());
        proxy.delay(Duration::from_millis(150));
        let storage = at(proxy.address()).timeout(Duration::from_millis(200)).build().unwrap();
        let limiter = AsyncLimiter::new(window(), storage);
        let failure = limiter.check("k").await.unwrap_err();
        let told = format!("memcached at {}: not connected in time; nothing was charged", proxy.address());
        assert_eq!((failure.kind(), failure.to_string()), (ErrorKind::Unavailable, told));
        proxy.delay(Duration::ZERO);
        recovered(&limiter, &Count::default(), "k").await;
        assert_eq!(proxy.connections(), 1, "the one that was begun");
    });
}

/// A runtime whose first connections are never made.
#[derive(Clone, Default)]
struct Stuck {
    asked: Arc<AtomicUsize>,
    /// How many attempts are under way.
    living: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// An attempt, while it lives.
struct Living(Arc<AtomicUsize>);

impl Drop for Living {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Timer for Stuck {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        Tokio.sleep(wait)
    }
}

impl Runtime for Stuck {
    fn now(&self) -> Instant {
        Tokio.now()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        Tokio.spawn(future);
    }
}

impl Connect for Stuck {
    type Stream = <Tokio as Connect>::Stream;

    fn connect(&self, address: &str) -> impl Future<Output = std::io::Result<Self::Stream>> + Send + 'static {
        let under_way = self.living.fetch_add(1, Ordering::Relaxed) + 1;
        let (number, living) = (self.asked.fetch_add(1, Ordering::Relaxed), Living(self.living.clone()));
        if number <= 3 {
            self.most.fetch_max(under_way, Ordering::Relaxed);
        }
        let connected: BoxFuture<'static, _> =
            if number < 3 { Box::pin(std::future::pending()) } else { Box::pin(Tokio.connect(address)) };
        async move {
            let _living = living;
            connected.await
        }
    }
}

/// Attempts that do not end are given up: each half a second another one begins, two are under way at most.
#[test]
fn an_attempt_that_never_ends_is_not_the_last() {
    run(async {
        let server = Memcached::start();
        let runtime = Stuck::default();
        let storage = MemcachedStorage::servers(runtime.clone(), [server.address().to_string()]);
        let limiter =
            AsyncLimiter::new(window(), storage.timeout(Duration::from_millis(50)).build().unwrap());
        let (began, mut asked) = (Instant::now(), 0);
        while join_all((0..20u32).map(|key| limiter.check(&key))).await.iter().any(Result::is_err) {
            asked += 1;
            assert!(began.elapsed() < Duration::from_secs(4), "{asked} in vain");
        }
        assert!(runtime.most.load(Ordering::Relaxed) <= 3, "an old one ends when another begins");
        assert!(began.elapsed() >= Duration::from_millis(1_500));
    });
}

/// An attempt that was begun on a runtime which runs no more is not waited for.
#[test]
fn a_runtime_that_runs_no_more_holds_up_no_other() {
    let server = Memcached::start();
    let limiter = AsyncLimiter::new(window(), at(server.address()).timeout(RECOVERY / 4).build().unwrap());
    let stopped = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    stopped.block_on(async { assert!(poll_immediate(limiter.check("k")).await.is_none()) });
    run(async { recovered(&limiter, &Count::default(), "k").await });
    drop(stopped);
}

/// Takes all connections that a server has to give.
fn taken(server: &Memcached) -> Vec<TcpStream> {
    let mut taken = Vec::new();
    loop {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let _ = stream.write_all(b"version\r\n");
        let mut answer = String::new();
        let _ = BufReader::new(&stream).read_line(&mut answer);
        if !answer.starts_with("VERSION") {
            return taken;
        }
        taken.push(stream);
    }
}

/// Where a server gives fewer connections than there may be, calls share those.
#[test]
fn a_pool_settles_for_the_connections_it_gets() {
    run(async {
        let server = Memcached::options().arguments(&["-c", "60"]).start();
        let mut taken = taken(&server);
        let storage = at(server.address()).build().unwrap();
        let limiter = Arc::new(AsyncLimiter::new(window(), storage));
        let failure = limiter.check("k").await.unwrap_err();
        let told = format!(
            "memcached at {}: ERROR Too many open connections; nothing was charged",
            server.address()
        );
        assert_eq!((failure.kind(), failure.to_string()), (ErrorKind::Unavailable, told));
        taken.truncate(taken.len() - 4);
        let count = Count::default();
        recovered(&limiter, &count, "k").await;
        let refused = || super::count_over(&taken[0], "rejected_connections");
        let (began, before) = (Instant::now(), refused());
        let mut tasks = Vec::new();
        for task in 0..33u32 {
            let limiter = limiter.clone();
            tasks.push(tokio::spawn(async move {
                let mut failures = Vec::new();
                for _ in 0..1_000 {
                    failures.extend(limiter.check(&task).await.err().map(|failure| failure.to_string()));
                }
                failures
            }));
        }
        for failures in join_all(tasks).await {
            assert_eq!(failures.unwrap(), [""; 0]);
        }
        // As many as there may be at first, and then by pauses of a quarter of a second at least.
        let most = 16 + 16 * (6 + began.elapsed().as_millis() / 250) as u64;
        assert!(refused() - before <= most, "{} refused in {:?}", refused() - before, began.elapsed());
    });
}

/// A server that answers each line with the same words, but `version` with a version of its own.
pub(crate) fn server_with(version: &'static str, words: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                for line in BufReader::new(&stream).lines().map_while(Result::ok) {
                    let is_version = line.starts_with("version");
                    let answer = if is_version { format!("VERSION {version}") } else { words.to_owned() };
                    let _ = (&stream).write_all(format!("{answer}\r\n").as_bytes());
                }
            });
        }
    });
    address
}

#[test]
fn a_server_that_is_too_old_is_named() {
    run(async {
        let address = server_with("1.4.39", "ERROR");
        let limiter = AsyncLimiter::new(window(), at(address).build().unwrap());
        let told = format!(
            "memcached at {address}: memcached 1.4.39 is too old; use 1.6 or later; nothing was \
             charged"
        );
        for failure in [limiter.check("k").await.unwrap_err(), limiter.storage().ready().await.unwrap_err()] {
            assert_eq!((failure.kind(), failure.to_string()), (ErrorKind::Denied, told.clone()));
        }
    });
}

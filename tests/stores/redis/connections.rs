//! Connections to Redis, on real servers: what was certainly not sent is sent again, connecting takes its own
//! time and belongs to no runtime, and a server that is of no use is not flooded.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use traffik::lock::{Lock, Ttl};
use traffik::storage::ErrorKind;
use traffik::{Adaptive, AsyncLimiter, FixedWindow, Rate, RedisBuilder, RedisStorage};
use traffik_test_support::limited::{Count, DEADLINE, RECOVERY, recovered, run};
use traffik_test_support::servers::{Cluster, Proxy, Redis, Sentinel, until};

fn at(url: &str) -> RedisStorage {
    quiet(RedisStorage::url(url).unwrap()).build().unwrap()
}

fn quiet(builder: RedisBuilder) -> RedisBuilder {
    builder.namespace("f").timeout(DEADLINE).on_warning(|_| {})
}

fn weekly(limit: u32) -> FixedWindow {
    FixedWindow::new(Rate::per_week(limit))
}

/// Runs on one thread, which does nothing else while the test talks to servers: whatever has happened to a
/// connection meanwhile is found out only by the next call on it.
fn alone<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Nothing was sent on a connection that was closed while it lay idle, so every hit counts, and once.
#[test]
fn a_connection_that_was_closed_while_idle_costs_no_hit() {
    async fn checked(redis: &Redis, storage: impl Fn() -> RedisStorage) {
        let (limiter, count) = (AsyncLimiter::new(weekly(30), storage()), Count::default());
        let adaptive = AsyncLimiter::new(Adaptive::new(Rate::per_week(30)), storage());
        let lock = storage().lock();
        for turn in 0..20 {
            redis.disconnect();
            assert_eq!(count.check(&limiter, "k").await, None, "turn {turn}");
            redis.disconnect();
            assert_eq!(count.check(&adaptive, "a").await, None, "turn {turn}");
            let grant = lock.try_acquire(b"name", Ttl::new(Duration::from_secs(60)).unwrap()).await.unwrap();
            redis.disconnect();
            assert!(lock.release(grant.expect("it is free")).await.unwrap(), "turn {turn}");
        }
        assert_eq!(count.get(), [40, 0, 0, 0]);
        assert_eq!(limiter.peek("k", 0).await.unwrap().remaining(), 10);
        assert_eq!(adaptive.peek("a", 0).await.unwrap().remaining(), 10);
    }
    let redis = Redis::start();
    let fresh = || {
        redis.command(&["FLUSHALL"]);
    };
    alone(checked(&redis, || at(&redis.url())));
    fresh();
    run(checked(&redis, || at(&redis.url())));
    fresh();
    smol::block_on(checked(&redis, || at(&redis.url())));
}

#[test]
fn a_node_of_a_cluster_and_a_master_may_close_idle_connections_too() {
    let cluster = Cluster::start();
    let kill = || cluster.nodes.iter().for_each(Redis::disconnect);
    alone(async {
        let storage = quiet(RedisStorage::cluster(cluster.urls()).unwrap()).build().unwrap();
        let (limiter, count) = (AsyncLimiter::new(weekly(1), storage), Count::default());
        for key in 0..60 {
            kill();
            assert_eq!(count.check(&limiter, &key.to_string()).await, None);
        }
        assert_eq!(count.get(), [60, 0, 0, 0]);
    });
    let sentinel = Sentinel::start();
    alone(async {
        let storage = RedisStorage::sentinel([sentinel.url()], "redis://mymaster").unwrap();
        let (limiter, count) =
            (AsyncLimiter::new(weekly(30), quiet(storage).build().unwrap()), Count::default());
        for _ in 0..20 {
            sentinel.master().disconnect();
            let _ = sentinel.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
            assert_eq!(count.check(&limiter, "k").await, None);
        }
        assert_eq!(count.get(), [20, 0, 0, 0]);
    });
}

/// A server that closes idle connections by itself, and one that was restarted.
#[test]
fn idle_timeouts_and_restarts_cost_no_hit() {
    let mut redis = Redis::options().persistent().config(&["timeout", "1"]).start();
    let (limiter, count) = (AsyncLimiter::new(weekly(30), at(&redis.url())), Count::default());
    alone(async {
        let clients = || redis.command(&["CLIENT", "LIST"]).text().lines().count();
        for _ in 0..3 {
            assert_eq!(count.check(&limiter, "k").await, None);
            // Its own connection is one.
            until(Duration::from_secs(10), "the idle connection is closed", || clients() == 1);
        }
    });
    for _ in 0..3 {
        redis.stop();
        redis.start_again();
        alone(async { assert_eq!(count.check(&limiter, "k").await, None) });
    }
    assert_eq!(count.get(), [6, 0, 0, 0]);
    alone(async { assert_eq!(limiter.peek("k", 0).await.unwrap().remaining(), 24) });
}

/// A store that is far away is connected to by several calls that fail one after another, and then answers.
#[test]
fn connecting_takes_longer_than_a_call_may() {
    run(async {
        let redis = Redis::start();
        let proxy = Proxy::to(redis.address());
        proxy.delay(Duration::from_millis(30));
        let far = quiet(RedisStorage::url(&proxy.url()).unwrap()).timeout(Duration::from_millis(100));
        let (limiter, count) = (AsyncLimiter::new(weekly(1_000), far.build().unwrap()), Count::default());
        assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Unavailable));
        recovered(&limiter, &count, "k").await;
        assert_eq!(proxy.connections(), 1);
    });
}

/// A function of the user's that never comes back is called once more.
#[test]
fn an_attempt_that_never_ends_is_not_waited_for() {
    run(async {
        let redis = Redis::start();
        let (client, calls) = (redis::Client::open(redis.url()).unwrap(), Arc::new(AtomicUsize::new(0)));
        let called = Arc::clone(&calls);
        let storage = RedisStorage::factory(move || {
            let (client, is_first) = (client.clone(), called.fetch_add(1, Ordering::Relaxed) == 0);
            async move {
                if is_first {
                    pending::<()>().await;
                }
                client.get_multiplexed_async_connection().await
            }
        });
        let (limiter, count) =
            (AsyncLimiter::new(weekly(1_000), quiet(storage).build().unwrap()), Count::default());
        recovered(&limiter, &count, "k").await;
        for _ in 0..100 {
            assert_eq!(count.check(&limiter, "k").await, None);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        count.assert_exact(count.get()[0]);
    });
}

/// A connection that is lost on the way is made once more before the system would send it again.
#[test]
fn a_black_hole_is_left_within_a_second() {
    run(async {
        let redis = Redis::start();
        let proxy = Proxy::to(redis.address());
        let (limiter, count) = (AsyncLimiter::new(weekly(1_000), at(&proxy.url())), Count::default());
        proxy.black_hole(true);
        for _ in 0..5 {
            assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Unavailable));
        }
        // One that has its whole budget, and another one every half second beside it.
        assert!(proxy.connections() <= 5, "{} attempts in 1.5 s", proxy.connections());
        proxy.black_hole(false);
        recovered(&limiter, &count, "k").await;
    });
}

/// Two runtimes share a storage, and one of them stands still: with a connection, or while it makes one.
#[test]
fn a_runtime_that_stands_still_holds_up_no_other() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let make = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for delay in [Duration::ZERO, Duration::from_secs(5)] {
        let (limiter, count) = (AsyncLimiter::new(weekly(1_000), at(&proxy.url())), Count::default());
        let (still, other) = (make(), make());
        proxy.delay(delay);
        if delay.is_zero() {
            still.block_on(async { assert_eq!(count.check(&limiter, "k").await, None) });
        } else {
            still.block_on(async { assert!(count.check(&limiter, "k").now_or_never().is_none()) });
            proxy.delay(Duration::ZERO);
        }
        other.block_on(async {
            for _ in 0..10 {
                assert_eq!(count.check(&limiter, "k").await, None);
            }
        });
        // It goes on where it stood.
        still.block_on(recovered(&limiter, &count, "k"));
        redis.command(&["FLUSHALL"]);
    }
}

/// A program that makes a runtime for each call keeps no connection of one that has ended.
#[test]
fn a_runtime_that_has_ended_takes_its_connection_along() {
    let redis = Redis::start();
    let (limiter, count) = (AsyncLimiter::new(weekly(1_000), at(&redis.url())), Count::default());
    for _ in 0..50 {
        alone(async { assert_eq!(count.check(&limiter, "k").await, None) });
    }
    assert_eq!(count.get(), [50, 0, 0, 0]);
    let clients = || redis.command(&["CLIENT", "LIST"]).text().lines().count();
    until(RECOVERY, "all connections but the present one are closed", || clients() == 1);
}

/// It takes connections and refuses what is asked: each is of no use, so the pauses between them grow.
#[test]
fn a_read_only_server_is_not_flooded_with_connections() {
    let redis = Redis::options().config(&["replicaof", "127.0.0.1", "1"]).start();
    let connections = || redis.info("total_connections_received").unwrap().parse::<u32>().unwrap();
    let before = connections();
    run(async {
        let (limiter, count) = (AsyncLimiter::new(weekly(1_000), at(&redis.url())), Count::default());
        let began = Instant::now();
        while began.elapsed() < RECOVERY {
            assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Unavailable));
            tokio::task::yield_now().await;
        }
        // At least 12, 25, 50 and 100 ms apart, and then 100; the count itself takes one.
        let made = connections() - before;
        assert!(made <= 15, "{made} connections in a second");
        redis.command(&["REPLICAOF", "NO", "ONE"]);
        recovered(&limiter, &count, "k").await;
    });
}

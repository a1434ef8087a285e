//! Values under keys that are no states of the limits, on real servers: each counted, and warned of once.

use std::time::Duration;

use traffik::lock::Lock;
use traffik::runtime::Tokio;
use traffik::storage::{AsyncStorage, ErrorKind};
use traffik::{
    Adaptive, AsyncLimiter, FixedWindow, HeapLog, MemcachedStorage, Rate, RedisStorage, Strategy, TokenBucket,
};
use traffik_test_support::granting::ttl;
use traffik_test_support::servers::{Memcached, Redis};

use crate::lines::Lines;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

const SECRET: &str = "secret";

fn redis(server: &Redis, lines: &Lines) -> RedisStorage {
    let storage = RedisStorage::url(&server.url()).unwrap().namespace("app").timeout(Duration::from_secs(5));
    storage.on_warning(lines.writer()).build().unwrap()
}

/// Checks once on what is there now, and asserts that it is counted, and that what the check leaves is not.
async fn counts_on_redis<S: Strategy>(strategy: S, storage: &RedisStorage) {
    let (limiter, before) = (AsyncLimiter::new(strategy, storage.clone()), storage.corrupt());
    let _ = limiter.check(SECRET).await.unwrap();
    assert_eq!(storage.corrupt(), before + 1);
    let _ = limiter.check(SECRET).await.unwrap();
    assert_eq!(storage.corrupt(), before + 1, "what the check has left is a state");
}

#[test]
fn what_is_no_state_on_redis_is_counted_and_warned_of_once() {
    run(async {
        let (server, lines) = (Redis::start(), Lines::default());
        let storage = redis(&server, &lines);
        let rate = Rate::per_day(10);
        counts_none(&storage).await;
        let key = "app:{secret}";
        let writes: [&[&str]; 3] = [
            &["SET", key, "no state at all"],
            &["RPUSH", key, "a list"],
            &["SET", key, "\u{14}aaaabbbbccccdddd"],
        ];
        for write in writes {
            let plant = || (server.command(&["DEL", key]), server.command(write));
            plant();
            counts_on_redis(TokenBucket::new(rate), &storage).await;
            plant();
            counts_on_redis(HeapLog::new(rate).unwrap(), &storage).await;
            plant();
            counts_on_redis((TokenBucket::new(rate), FixedWindow::new(rate)), &storage).await;
            plant();
            // The client decides, and swaps.
            counts_on_redis(Adaptive::new(rate), &storage).await;
            plant();
            let before = storage.corrupt();
            let bucket = TokenBucket::new(rate);
            let together = AsyncLimiter::new(bucket, storage.clone());
            let _ = together.check_together([&SECRET, &"other"], 1).await.unwrap();
            assert_eq!(storage.corrupt(), before + 1);
            plant();
            let _ = AsyncStorage::load(&storage, &bucket, &SECRET).await.unwrap();
            assert_eq!(storage.corrupt(), before + 2);
            // Of another strategy.
            counts_on_redis(Adaptive::new(rate), &storage).await;
            counts_on_redis(FixedWindow::new(rate), &storage).await;
            server.command(&["DEL", "app:{other}"]);
        }
        assert_eq!(storage.corrupt(), 3 * 8);
        lines.assert_one(&["namespace app on Redis", "whole limit", "its own namespace"]);
        assert!(!lines.get()[0].contains(SECRET));
    });
}

/// Keys never seen, and states, are no such values.
async fn counts_none(storage: &RedisStorage) {
    let limiter = AsyncLimiter::new(TokenBucket::new(Rate::per_day(1)), storage.clone());
    for _ in 0..3 {
        let _ = limiter.check("fresh").await.unwrap();
        let _ = limiter.peek("fresh", 1).await.unwrap();
    }
    let _ = AsyncLimiter::new(Adaptive::new(Rate::per_day(1)), storage.clone()).check("new").await.unwrap();
    assert_eq!(storage.corrupt(), 0);
}

#[test]
fn what_is_no_lock_on_redis_is_counted_and_warned_of_once() {
    run(async {
        let (server, lines) = (Redis::start(), Lines::default());
        let storage = redis(&server, &lines);
        server.command(&["RPUSH", "app#lock:{secret}", "a list"]);
        for count in 1..3 {
            let failure = storage.lock().try_acquire(SECRET.as_bytes(), ttl(9)).await.unwrap_err();
            assert_eq!((failure.kind(), storage.corrupt()), (ErrorKind::Corrupt, count));
        }
        lines.assert_one(&["namespace app on Redis"]);
    });
}

#[test]
fn what_is_no_state_on_memcached_is_counted_and_warned_of_once() {
    run(async {
        let (server, lines) = (Memcached::start(), Lines::default());
        let storage = MemcachedStorage::servers(Tokio, [server.address().to_string()]).namespace("app");
        let storage = storage.timeout(Duration::from_secs(5)).on_warning(lines.writer()).build().unwrap();
        let window = AsyncLimiter::new(FixedWindow::new(Rate::per_day(10)), storage.clone());
        let bucket = AsyncLimiter::new(TokenBucket::new(Rate::per_day(10)), storage.clone());
        for _ in 0..2 {
            let _ = (window.check("w").await.unwrap(), bucket.check("b").await.unwrap());
        }
        assert_eq!(storage.corrupt(), 0);
        let mut count = 0;
        for bytes in ["no state at all", "7", "", "\u{14}aaaabbbbccccdddd"] {
            server.set("app:{secret}", bytes.as_bytes());
            for admitted in 1..3 {
                // The first check finds it, and leaves what the server can count down.
                assert_eq!(window.check(SECRET).await.unwrap().remaining(), 10 - admitted, "{bytes:?}");
                assert_eq!(storage.corrupt(), count + 1, "{bytes:?}");
            }
            server.set("app:{secret}", bytes.as_bytes());
            for _ in 0..2 {
                assert!(bucket.check(SECRET).await.unwrap().is_allowed());
                assert_eq!(storage.corrupt(), count + 2, "{bytes:?}");
            }
            server.set("app:{secret}", bytes.as_bytes());
            let limit = TokenBucket::new(Rate::per_day(10));
            let _ = AsyncStorage::load(&storage, &limit, &SECRET).await.unwrap();
            count += 3;
            assert_eq!(storage.corrupt(), count, "{bytes:?}");
        }
        lines.assert_one(&["namespace app on Memcached", "whole limit", "its own namespace"]);
        assert!(!lines.get()[0].contains(SECRET));
    });
}

//! Limits that take turns on one client, on real servers.

use std::sync::Arc;
use std::time::Duration;

use traffik::runtime::Tokio;
use traffik::{
    FixedWindow, ManualClock, MemcachedStorage, RedisStorage, SlidingWindow, Timestamp, TokenBucket,
};
use traffik_test_support::agree::{START, Shared};
use traffik_test_support::alternating::holds;
use traffik_test_support::servers::{Memcached, Redis};

fn clock() -> Shared {
    Shared(Arc::new(ManualClock::new(Timestamp::from_micros(START))))
}

#[tokio::test]
async fn a_slow_limit_holds_beside_a_quick_one_on_redis() {
    let (server, clock) = (Redis::start(), clock());
    let storage = RedisStorage::url(&server.url()).unwrap().timeout(Duration::from_secs(5));
    let storage = Arc::new(storage.clock(clock.clone()).build().unwrap());
    holds("redis window", FixedWindow::new, Arc::clone(&storage), &clock.0).await;
    holds("redis sliding", SlidingWindow::new, Arc::clone(&storage), &clock.0).await;
    holds("redis bucket", TokenBucket::new, storage, &clock.0).await;
}

#[tokio::test]
async fn a_slow_limit_holds_beside_a_quick_one_on_memcached() {
    let (server, clock) = (Memcached::start(), clock());
    let storage = MemcachedStorage::servers(Tokio, [server.address().to_string()]);
    let storage = Arc::new(storage.clock(clock.clone()).timeout(Duration::from_secs(5)).build().unwrap());
    holds("memcached window", FixedWindow::new, Arc::clone(&storage), &clock.0).await;
    holds("memcached sliding", SlidingWindow::new, Arc::clone(&storage), &clock.0).await;
    holds("memcached bucket", TokenBucket::new, storage, &clock.0).await;
}

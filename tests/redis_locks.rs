//! Locks on one Redis and on several that know nothing of each other, on real servers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod servers;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use servers::Redis;
use traffik::lock::{Lock, LockSettings, Locks, Ttl};
use traffik::runtime::Tokio;
use traffik::storage::{ErrorKind, Failure};
use traffik::{RedisLock, RedisStorage, Redlock};

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

fn lock(redis: &Redis) -> RedisLock {
    let timeout = Duration::from_millis(300);
    RedisStorage::url(&redis.url()).unwrap().namespace("l").timeout(timeout).build().unwrap().lock()
}

fn ttl(millis: u64) -> Ttl {
    Ttl::new(Duration::from_millis(millis)).unwrap()
}

/// Names are held by one at a time, tokens grow, and only the holder can renew or release.
async fn excludes(one: &impl Lock, other: &impl Lock) {
    let mut tokens = vec![0];
    for name in [&b"a"[..], b"", b"a b\r\n{}", b"a"] {
        let grant = one.try_acquire(name, ttl(60_000)).await.unwrap().unwrap();
        assert!(other.try_acquire(name, ttl(60_000)).await.unwrap().is_none());
        let another = one.try_acquire(b"another", ttl(60_000)).await.unwrap().unwrap();
        assert!(other.release(another).await.unwrap());
        assert!(other.renew(&grant, ttl(60_000)).await.unwrap(), "whoever has the grant may renew it");
        assert!(one.release(grant.clone()).await.unwrap());
        assert!(!one.release(grant.clone()).await.unwrap() && !one.renew(&grant, ttl(9)).await.unwrap());
        let next = other.try_acquire(name, ttl(60_000)).await.unwrap().unwrap();
        assert!(next.fencing() > grant.fencing() && next.owner() != grant.owner());
        assert!(!one.release(grant.clone()).await.unwrap(), "a grant of old does not end a new one");
        assert!(one.try_acquire(name, ttl(60_000)).await.unwrap().is_none());
        assert!(other.release(next.clone()).await.unwrap());
        tokens.push(next.fencing());
    }
}

/// A grant that nobody renews ends by itself, and not before.
async fn expires(lock: &impl Lock) {
    let began = Instant::now();
    let grant = lock.try_acquire(b"brief", ttl(300)).await.unwrap().unwrap();
    let next = loop {
        if let Some(next) = lock.try_acquire(b"brief", ttl(60_000)).await.unwrap() {
            break next;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "still held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(began.elapsed() >= Duration::from_millis(290), "ended after {:?}", began.elapsed());
    assert!(next.fencing() > grant.fencing());
    assert!(!lock.renew(&grant, ttl(9)).await.unwrap());
}

fn assert_all_expire(redis: &Redis) {
    let keys = redis.command(&["KEYS", "*"]);
    assert!(!keys.array().is_empty());
    for key in keys.array() {
        assert!(redis.command(&["PTTL", key.text().as_str()]).integer() > 0, "{key:?} has no time to live");
    }
}

#[test]
fn one_server_grants_a_name_to_one_at_a_time() {
    run(async {
        let redis = Redis::start();
        excludes(&lock(&redis), &lock(&redis)).await;
        expires(&lock(&redis)).await;
        assert_all_expire(&redis);
    });
}

#[test]
fn several_servers_grant_a_name_to_one_at_a_time() {
    run(async {
        let servers = Redis::independent(3);
        let all = || Redlock::new(servers.iter().map(lock)).unwrap();
        excludes(&all(), &all()).await;
        expires(&all()).await;
        servers.iter().for_each(assert_all_expire);
    });
}

/// Many at once, through either kind: never two inside, and all get in.
#[test]
fn critical_sections_exclude_each_other() {
    async fn crowded(locks: Vec<Locks<impl Lock + 'static, Tokio>>) {
        static INSIDE: AtomicU64 = AtomicU64::new(0);
        let (mut tasks, settings) =
            (Vec::new(), LockSettings::new().blocking_timeout(Duration::from_secs(30)));
        for locks in locks {
            tasks.push(tokio::spawn(async move {
                let mut tokens = Vec::new();
                for _ in 0..5 {
                    let held = locks.lock_with("section", settings).await.unwrap();
                    assert_eq!(INSIDE.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
                    tokens.push(held.fencing());
                    tokio::task::yield_now().await;
                    assert_eq!(INSIDE.fetch_sub(1, Ordering::SeqCst), 1);
                    held.release().await.unwrap();
                }
                tokens
            }));
        }
        let mut tokens = Vec::new();
        for task in tasks {
            tokens.extend(task.await.unwrap());
        }
        let all = tokens.len();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), all, "no token is granted twice");
    }
    run(async {
        let servers = Redis::independent(3);
        crowded((0..6).map(|_| Locks::new(lock(&servers[0]), Tokio)).collect()).await;
        let all = || Redlock::new(servers.iter().map(lock)).unwrap();
        crowded((0..3).map(|_| Locks::new(all(), Tokio)).collect()).await;
    });
}

/// The answer, once connections that broke were made anew.
async fn answered<T>(ask: impl AsyncFn() -> Result<T, Failure>) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(failure) => assert!(began.elapsed() < Duration::from_secs(2), "{failure}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// With one of three servers gone a name is still granted, and still to one; with two gone it is not, and what the last
/// one granted is taken back.
#[test]
fn a_majority_is_enough_and_less_is_not() {
    run(async {
        let mut servers = Redis::independent(3);
        let [one, other] = [0, 1].map(|_| Redlock::new(servers.iter().map(lock)).unwrap());
        let first = one.try_acquire(b"n", ttl(60_000)).await.unwrap().unwrap();
        servers[0].stop();
        assert!(other.try_acquire(b"n", ttl(60_000)).await.unwrap().is_none());
        assert!(one.release(first.clone()).await.unwrap());
        let second = other.try_acquire(b"n", ttl(60_000)).await.unwrap().unwrap();
        assert!(second.fencing() > first.fencing());
        // Another majority, one of which has not heard of the second grant.
        servers[1].stop();
        servers[0].start_again();
        assert!(answered(async || one.try_acquire(b"n", ttl(60_000)).await).await.is_none());
        let released = answered(async || other.release(second.clone()).await).await;
        assert!(!released, "it was released on one of the two that answer");
        let third = loop {
            match one.try_acquire(b"n", ttl(60_000)).await {
                Ok(Some(third)) => break third,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        assert!(third.fencing() > second.fencing());
        assert!(one.release(third).await.unwrap());
        servers[0].stop();
        let failed = one.try_acquire(b"n", ttl(60_000)).await.unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{failed}");
        let last = lock(&servers[2]).try_acquire(b"n", ttl(1)).await.unwrap();
        assert!(last.is_some(), "what was granted in vain is released");
    });
}

/// A grant that took longer to come by than it lasts is of no use.
#[test]
fn a_grant_that_comes_too_late_is_none() {
    run(async {
        let servers = Redis::independent(3);
        let proxies: Vec<_> = servers.iter().map(|redis| servers::Proxy::to(redis.address())).collect();
        let behind = |proxy: &servers::Proxy| {
            RedisStorage::url(&proxy.url()).unwrap().namespace("l").build().unwrap().lock()
        };
        let slow = Redlock::new(proxies.iter().map(behind)).unwrap();
        assert!(slow.try_acquire(b"n", ttl(5_000)).await.unwrap().is_some());
        proxies.iter().for_each(|proxy| proxy.delay(Duration::from_millis(20)));
        assert!(slow.try_acquire(b"m", ttl(50)).await.unwrap().is_none());
        assert!(
            Redlock::new(servers.iter().take(2).map(lock)).unwrap_err().to_string().contains("give 3 or 5")
        );
    });
}

//! Locks on one Redis and on several that know nothing of each other, on real servers.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use traffik::lock::{Grant, Lock, Locks};
use traffik::runtime::Tokio;
use traffik::storage::{BackendError, ErrorKind};
use traffik::{RedisLock, RedisStorage, Redlock};
use traffik_test_support::granting::{crowded, excludes, expires, ttl};
use traffik_test_support::servers::{Redis, Reply, until};

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

fn lock(redis: &Redis) -> RedisLock {
    lock_within(redis, Duration::from_millis(300))
}

fn lock_within(redis: &Redis, timeout: Duration) -> RedisLock {
    RedisStorage::url(&redis.url()).unwrap().namespace("l").timeout(timeout).build().unwrap().lock()
}

/// Returns how many names a server has granted that are neither over nor released.
fn held(redis: &Redis) -> usize {
    let time = redis.command(&["TIME"]);
    let [seconds, micros] = [0, 1].map(|at| time.array()[at].text().parse::<u64>().unwrap());
    let is_held = |key: &Reply| {
        let Reply::Bulk(grant) = redis.command(&["GET", key.text().as_str()]) else { return false };
        let ends = u64::from_le_bytes(grant[24..].try_into().unwrap());
        grant[..16] != [0; 16] && ends > seconds * 1_000_000 + micros
    };
    redis.command(&["KEYS", "*"]).array().iter().filter(|key| is_held(key)).count()
}

fn assert_all_become_free(servers: &[Redis]) {
    until(Duration::from_secs(20), "what nobody holds is released", || {
        servers.iter().all(|server| held(server) == 0)
    });
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
    run(async {
        let servers = Redis::independent(3);
        crowded((0..6).map(|_| Locks::new(lock(&servers[0]), Tokio)).collect()).await;
        let all = || Redlock::new(servers.iter().map(lock)).unwrap();
        crowded((0..3).map(|_| Locks::new(all(), Tokio)).collect()).await;
    });
}

/// The answer, once connections that broke were made anew.
async fn answered<T>(ask: impl AsyncFn() -> Result<T, BackendError>) -> T {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(failure) => assert!(began.elapsed() < Duration::from_secs(2), "{failure}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The grant, once what was given up before is released in the background.
async fn granted(lock: &impl Lock, name: &[u8]) -> Grant {
    let began = Instant::now();
    loop {
        if let Ok(Some(grant)) = lock.try_acquire(name, ttl(60_000)).await {
            return grant;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it is still held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// With one of three servers gone a name is still granted, and still to one; with two gone it is not, and
/// what the last one granted is taken back.
#[test]
fn a_majority_is_enough_and_less_is_not() {
    run(async {
        let mut servers = Redis::independent(3);
        let [one, other] = [0, 1].map(|_| Redlock::new(servers.iter().map(lock)).unwrap());
        let first = one.try_acquire(b"n", ttl(60_000)).await.unwrap().unwrap();
        servers[0].stop();
        assert!(other.try_acquire(b"n", ttl(60_000)).await.unwrap().is_none());
        assert!(one.release(first.clone()).await.unwrap());
        let second = granted(&other, b"n").await;
        assert!(second.fencing() > first.fencing());
        // Another majority, one of which has not heard of the second grant.
        servers[1].stop();
        servers[0].start_again();
        assert!(answered(async || one.try_acquire(b"n", ttl(60_000)).await).await.is_none());
        let released = answered(async || other.release(second.clone()).await).await;
        assert!(!released, "it was released on one of the two that answer");
        let third = granted(&one, b"n").await;
        assert!(third.fencing() > second.fencing());
        assert!(one.release(third).await.unwrap());
        servers[0].stop();
        let failed = one.try_acquire(b"n", ttl(60_000)).await.unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{failed}");
        // Grants without a majority are released.
        granted(&lock(&servers[2]), b"n").await;
    });
}

/// A grant that took longer to come by than it lasts is of no use.
#[test]
fn a_grant_that_comes_too_late_is_none() {
    run(async {
        let servers = Redis::independent(3);
        let proxies: Vec<_> =
            servers.iter().map(|redis| traffik_test_support::servers::Proxy::to(redis.address())).collect();
        let behind = |proxy: &traffik_test_support::servers::Proxy| {
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

/// Two of five that hang hold nobody up, and have nothing in hand once they go on: neither of what was
/// granted and released meanwhile, nor of what was given up.
#[test]
fn servers_that_hang_are_left_behind() {
    const DEADLINE: Duration = Duration::from_secs(10);
    // In the second round the servers hang for longer than a call may take.
    for (deadline, rounds) in [(DEADLINE, 200), (Duration::from_millis(500), 200)] {
        run(async {
            let mut servers = Redis::independent(5);
            let [one, other] =
                [0, 1].map(|_| Redlock::new(servers.iter().map(|it| lock_within(it, deadline))).unwrap());
            for lock in [&one, &other] {
                let first = lock.try_acquire(b"first", ttl(60_000)).await.unwrap().unwrap();
                assert!(lock.release(first).await.unwrap());
            }
            servers[..2].iter_mut().for_each(Redis::pause);
            let (mut token, mut slowest) = (0, Duration::ZERO);
            for round in 0..rounds {
                let (began, name) = (Instant::now(), [b'n', round % 10]);
                let grant = one.try_acquire(&name, ttl(60_000)).await.unwrap().unwrap();
                assert!(grant.fencing() > token, "tokens grow");
                token = grant.fencing();
                assert!(other.try_acquire(&name, ttl(60_000)).await.unwrap().is_none(), "it is held");
                assert!(one.renew(&grant, ttl(60_000)).await.unwrap());
                assert!(one.clone().release(grant).await.unwrap());
                slowest = slowest.max(began.elapsed());
            }
            println!("{deadline:?} a call: the slowest of {rounds} rounds took {slowest:?}");
            assert!(slowest < DEADLINE, "somebody waited for a server that hangs: {slowest:?}");
            tokio::time::sleep(deadline.min(Duration::from_millis(600))).await;
            servers[..2].iter_mut().for_each(Redis::resume);
            assert_all_become_free(&servers);
        });
    }
}

/// An answer that is dropped takes its grants with it, also those that come later.
#[test]
fn a_try_that_is_dropped_leaves_no_name_held() {
    run(async {
        let mut servers = Redis::independent(5);
        let all = Redlock::new(servers.iter().map(|it| lock_within(it, Duration::from_secs(10)))).unwrap();
        let first = all.try_acquire(b"n", ttl(60_000)).await.unwrap().unwrap();
        assert!(all.release(first).await.unwrap());
        assert_all_become_free(&servers);
        servers[..3].iter_mut().for_each(Redis::pause);
        {
            let mut grant = pin!(all.try_acquire(b"n", ttl(60_000)));
            let undecided = tokio::time::timeout(Duration::ZERO, grant.as_mut()).await;
            assert!(undecided.is_err(), "two of five are no majority");
            until(Duration::from_secs(10), "two have granted it", || {
                servers[3..].iter().all(|server| held(server) == 1)
            });
        }
        servers[..3].iter_mut().for_each(Redis::resume);
        assert_all_become_free(&servers);
    });
}

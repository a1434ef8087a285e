//! The duties of locks, on any store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use traffik::lock::{Lock, LockSettings, Locks, Ttl};
use traffik::runtime::Tokio;

pub fn ttl(millis: u64) -> Ttl {
    Ttl::new(Duration::from_millis(millis)).unwrap()
}

/// Names are held by one at a time, tokens grow, and only the holder can renew or release.
pub async fn excludes(one: &impl Lock, other: &impl Lock) {
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
pub async fn expires(lock: &impl Lock) {
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

/// Many at once: never two inside, and all get in.
pub async fn crowded(locks: Vec<Locks<impl Lock + 'static, Tokio>>) {
    static INSIDE: AtomicU64 = AtomicU64::new(0);
    let (mut tasks, settings) = (Vec::new(), LockSettings::new().blocking_timeout(Duration::from_secs(30)));
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

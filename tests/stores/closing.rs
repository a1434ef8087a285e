//! Closing a storage on a real server: calls under way are served, later calls fail with `Closed`, and
//! connections end.

use std::future::Future;
use std::time::Duration;

use futures_util::future::{join, join_all};
use traffik::layer::{Breaker, CircuitBreaker, DenyCache, Failover, Retry, Timeout};
use traffik::runtime::{Runtime, Tokio};
use traffik::storage::{AsyncStorage, BackendError, Local};
use traffik::{
    Adaptive, AsyncLimiter, ErrorKind, FixedWindow, MemcachedStorage, Memory, Rate, RedisStorage, Strategy,
    Timer,
};
use traffik_test_support::servers::{Memcached, Proxy, Redis};

/// Enough for a machine that is busy with something else.
const LONG: Duration = Duration::from_secs(10);
const BOTH_WAYS: Duration = Duration::from_millis(5);

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// A call under way is served, in as many steps as that takes. A call during the close or after it fails with
/// `Closed`.
async fn serves_who_is_on_the_way<S: Strategy, M: AsyncStorage<S> + Clone>(
    strategy: S,
    storage: M,
    proxy: &Proxy,
    close: impl AsyncFn() -> Result<(), BackendError>,
) {
    let limiter = AsyncLimiter::new(strategy, storage);
    let _ = limiter.check("before").await.unwrap();
    proxy.delay(BOTH_WAYS);
    let keys: Vec<u32> = (0..64).collect();
    let on_the_way = join_all(keys.iter().map(|key| limiter.check(key)));
    let late = async {
        // It is polled after those, and before they can have been answered.
        let closing = close();
        let (closed, late) = join(closing, limiter.check("late")).await;
        closed.unwrap();
        late
    };
    let (served, late) = join(on_the_way, late).await;
    for told in served {
        assert!(told.is_ok(), "{told:?}");
    }
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Closed);
    let later = limiter.check("later").await.unwrap_err();
    assert_eq!(
        (later.kind(), later.to_string().as_str()),
        (ErrorKind::Closed, "the storage has been closed")
    );
    assert_eq!(limiter.stat("later").await.err().map(|it| it.kind()), Some(ErrorKind::Closed));
    let ended = async {
        while proxy.open() > 0 {
            Tokio.sleep(Duration::from_millis(1)).await;
        }
    };
    Tokio.timeout(LONG, ended).await.unwrap();
    close().await.unwrap();
}

#[test]
fn redis() {
    run(async {
        let redis = Redis::start();
        for persistent in [true, false] {
            let made = || {
                let proxy = Proxy::to(redis.address());
                let storage = RedisStorage::url(&proxy.url()).unwrap().timeout(LONG).persistent(persistent);
                (proxy, storage.build().unwrap())
            };
            let (proxy, storage) = made();
            let window = FixedWindow::new(Rate::per_week(10));
            serves_who_is_on_the_way(window, storage.clone(), &proxy, async || storage.close().await).await;
            // One that takes two calls a check.
            let (proxy, storage) = made();
            let adaptive = Adaptive::new(Rate::per_hour(10));
            serves_who_is_on_the_way(adaptive, storage.clone(), &proxy, async || storage.close().await).await;
            let left = redis.command(&["KEYS", "*"]).array().len();
            assert_eq!(left == 0, !persistent, "{left} left");
            redis.command(&["FLUSHALL"]);
        }
    });
}

#[test]
fn memcached() {
    run(async {
        let memcached = Memcached::start();
        let made = || {
            let proxy = Proxy::to(memcached.address());
            let storage = MemcachedStorage::servers(Tokio, [proxy.address().to_string()]);
            // Fewer than there are calls, most of which hence wait for their turn.
            (proxy, storage.max_connections(4).timeout(LONG).build().unwrap())
        };
        let (proxy, storage) = made();
        let window = FixedWindow::new(Rate::per_week(10));
        serves_who_is_on_the_way(window, storage.clone(), &proxy, async || storage.close().await).await;
        let (proxy, storage) = made();
        let adaptive = Adaptive::new(Rate::per_hour(10));
        serves_who_is_on_the_way(adaptive, storage.clone(), &proxy, async || storage.close().await).await;
    });
}

/// A closed storage has not failed: no breaker opens, no retry waits, and no fallback takes over.
#[test]
fn through_all_layers() {
    run(async {
        let redis = Redis::start();
        let proxy = Proxy::to(redis.address());
        let store = RedisStorage::url(&proxy.url()).unwrap().timeout(LONG).build().unwrap();
        let retry =
            Retry::builder(Timeout::new(store.clone(), Tokio, LONG), Tokio).deadline(LONG).build().unwrap();
        let breaker = Breaker::builder("redis").build().unwrap();
        let primary = CircuitBreaker::new(retry.clone(), &breaker);
        let failover = Failover::builder(primary, Local(Memory::new(100))).warm().build();
        let storage = DenyCache::builder(failover).build();
        let limit = FixedWindow::new(Rate::per_week(10));
        let storage = std::sync::Arc::new(storage);
        serves_who_is_on_the_way(limit, storage, &proxy, async || store.close().await).await;
        assert_eq!((retry.retries(), breaker.refused()), (0, 0));
    });
}

//! Redis and Memcached serve programs on every runtime: the same tests on tokio, on smol and on async-std.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::{join, poll_immediate};
use smol::channel::bounded;
use traffik::lock::{Lock, LockSettings, Locks};
use traffik::runtime::{AsyncStd, Connect, Runtime, Smol, Tokio};
use traffik::storage::{AsyncStorage, BackendError, ErrorKind};
use traffik::{AsyncLimiter, FixedWindow, Gcra, MemcachedStorage, Rate, RedisStorage};
use traffik_test_support::servers::{Cluster, Memcached, Redis};

const DEADLINE: Duration = Duration::from_millis(300);
/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A storage on a server.
trait Stored: AsyncStorage<FixedWindow> + Clone + 'static {
    fn ready(&self) -> impl Future<Output = Result<(), BackendError>> + Send;
    fn clear(&self) -> impl Future<Output = Result<(), BackendError>> + Send;
    fn close(&self) -> impl Future<Output = Result<(), BackendError>> + Send;
    fn lock(&self) -> impl Lock + 'static;
}

macro_rules! stored {
    ($storage:ty $(, $runtime:ident)?) => {
        impl$(<$runtime: Connect>)? Stored for $storage {
            async fn ready(&self) -> Result<(), BackendError> {
                self.ready().await
            }

            async fn clear(&self) -> Result<(), BackendError> {
                self.clear().await
            }

            async fn close(&self) -> Result<(), BackendError> {
                self.close().await
            }

            fn lock(&self) -> impl Lock + 'static {
                self.lock()
            }
        }
    };
}

stored!(RedisStorage);
stored!(MemcachedStorage<R>, R);

/// A server, what can happen to it, and a storage on it.
trait Store: Send {
    fn start() -> Self;
    fn pause(&mut self);
    fn resume(&mut self);
    fn kill(&mut self);
    fn start_again(&mut self);
    fn at(&self, runtime: impl Connect) -> impl Stored;
}

macro_rules! store {
    ($server:ty, $at:expr) => {
        impl Store for $server {
            fn start() -> Self {
                Self::start()
            }

            fn pause(&mut self) {
                self.pause();
            }

            fn resume(&mut self) {
                self.resume();
            }

            fn kill(&mut self) {
                self.kill();
            }

            fn start_again(&mut self) {
                self.start_again();
            }

            fn at(&self, runtime: impl Connect) -> impl Stored {
                $at(self, runtime).namespace("r").timeout(DEADLINE).build().unwrap()
            }
        }
    };
}

store!(Redis, |redis: &Redis, _| RedisStorage::url(&redis.url()).unwrap());
store!(Memcached, |memcached: &Memcached, runtime| MemcachedStorage::servers(
    runtime,
    [memcached.address().to_string()]
));

fn at(redis: &Redis) -> RedisStorage {
    RedisStorage::url(&redis.url()).unwrap().namespace("r").timeout(DEADLINE).build().unwrap()
}

fn weekly(limit: u32) -> FixedWindow {
    FixedWindow::new(Rate::per_week(limit))
}

/// Tasks of the runtime share one storage and one limit.
async fn tasks_together_have_exactly_the_limit<T: Store>(runtime: impl Connect) {
    let server = T::start();
    let limiter = Arc::new(AsyncLimiter::new(weekly(1_000), server.at(runtime.clone())));
    let (admitted, (done, told)) = (Arc::<AtomicU32>::default(), bounded(32));
    for _ in 0..32 {
        let (limiter, admitted, done) = (Arc::clone(&limiter), Arc::clone(&admitted), done.clone());
        runtime.spawn(async move {
            for _ in 0..50 {
                if limiter.check("all").await.unwrap().is_allowed() {
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
            }
            done.send(()).await.unwrap();
        });
    }
    for _ in 0..32 {
        runtime.timeout(SOON, told.recv()).await.unwrap().unwrap();
    }
    assert_eq!(admitted.load(Ordering::Relaxed), 1_000);
}

/// A call that is dropped, a server that does not answer, one that is gone, and one that is back.
async fn what_goes_wrong_is_told_in_time_and_passes<T: Store>(runtime: impl Connect) {
    let mut server = T::start();
    let limiter = AsyncLimiter::new(weekly(1_000), server.at(runtime.clone()));
    limiter.storage().ready().await.unwrap();
    for _ in 0..100 {
        drop(poll_immediate(limiter.check("dropped")).await);
    }
    // The server may have received these calls or not; the next callers get answers of their own.
    let (a, b) = join(limiter.check_n("a", 10), limiter.check_n("b", 20)).await;
    assert_eq!([a.unwrap().remaining(), b.unwrap().remaining()], [990, 980]);

    server.pause();
    let answer = runtime.timeout(SOON, limiter.check("a")).await.unwrap();
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
    server.resume();
    recovers(&runtime, &limiter).await;

    server.kill();
    let answer = runtime.timeout(SOON, limiter.check("a")).await.unwrap();
    assert!(matches!(answer.unwrap_err().kind(), ErrorKind::Timeout | ErrorKind::Unavailable));
    server.start_again();
    recovers(&runtime, &limiter).await;

    limiter.storage().clear().await.unwrap();
    assert_eq!(limiter.peek("a", 0).await.unwrap().remaining(), 1_000);
    limiter.storage().close().await.unwrap();
    assert_eq!(limiter.check("a").await.unwrap_err().kind(), ErrorKind::Closed);
}

/// The runtime is what locks wait by.
async fn locks_are_waited_for<T: Store>(runtime: impl Connect) {
    let server = T::start();
    let settings = LockSettings::new().ttl(SOON).blocking_timeout(SOON);
    let locks = Locks::new(server.at(runtime.clone()).lock(), runtime.clone()).with(settings);
    let held = locks.lock("name").await.unwrap();
    let (token, release) = (held.fencing(), runtime.sleep(Duration::from_millis(20)));
    runtime.spawn(async move {
        release.await;
        held.release().await.unwrap();
    });
    assert!(locks.lock("name").await.unwrap().fencing() > token);
}

/// The waiters of one process form one line, and only the first of them asks.
async fn those_who_wait_are_served_in_order(runtime: impl Runtime) {
    const WAITERS: u64 = 8;
    let redis = Redis::start();
    let calls = || {
        let told = redis.info("cmdstat_evalsha").unwrap_or_default();
        let calls = told.split(',').find_map(|part| part.strip_prefix("calls="));
        calls.map_or(0, |calls| calls.parse::<u64>().unwrap())
    };
    let limiter = Arc::new(AsyncLimiter::new(Gcra::new(Rate::per_second(10)), at(&redis)));
    // For a second nobody is admitted: by then all of them have come.
    let _ = limiter.charge("key", 10).await.unwrap();
    let (began, before) = (runtime.now(), calls());
    let (done, told) = bounded(WAITERS as usize);
    for number in 0..WAITERS {
        let (inner, asked, done) = (runtime.clone(), Arc::clone(&limiter), done.clone());
        let mut waits = Box::pin(async move {
            assert!(asked.until_ready("key", &inner).await.unwrap().is_allowed());
            done.send(number).await.unwrap();
        });
        // A future that is polled once joins the line, but the first one asks.
        assert!(poll_immediate(waits.as_mut()).await.is_none());
        runtime.spawn(waits);
        while told.is_empty() && AsyncStorage::<Gcra>::wait_queue(limiter.storage()).unwrap().is_empty(&"key")
        {
            runtime.sleep(Duration::from_millis(1)).await;
        }
    }
    for number in 0..WAITERS {
        assert_eq!(runtime.timeout(SOON, told.recv()).await, Ok(Ok(number)));
    }
    assert!(runtime.now() - began >= Duration::from_millis(100) * (WAITERS as u32 - 1));
    // Each at its turn, and again if that was too soon; not all of them at each of their denials.
    assert!(calls() - before <= 2 * WAITERS + 1, "{} calls", calls() - before);
}

async fn a_cluster_serves_too(runtime: impl Runtime) {
    let cluster = Cluster::start();
    let storage = RedisStorage::cluster(cluster.urls()).unwrap().timeout(SOON).build().unwrap();
    let limiter = AsyncLimiter::new(weekly(2), storage);
    for key in 0..20u32 {
        let mut allowed = [false; 3];
        for allowed in &mut allowed {
            let answer = runtime.timeout(SOON, limiter.check(&key)).await.unwrap();
            *allowed = answer.unwrap().is_allowed();
        }
        assert_eq!(allowed, [true, true, false]);
    }
}

/// Waits until a check succeeds again.
async fn recovers(runtime: &impl Runtime, limiter: &AsyncLimiter<FixedWindow, impl Stored>) {
    let well = async {
        while limiter.check("a").await.is_err() {
            runtime.sleep(Duration::from_millis(5)).await;
        }
    };
    runtime.timeout(Duration::from_secs(1), well).await.unwrap();
}

/// The same tests on one runtime.
macro_rules! serves {
    ($name:ident: $runtime:expr, $block_on:expr) => {
        serves!($name: $runtime, $block_on;
            tasks_together_have_exactly_the_limit
            what_goes_wrong_is_told_in_time_and_passes
            locks_are_waited_for);
    };
    ($name:ident: $runtime:expr, $block_on:expr; $($test:ident)*) => {
        mod $name {
            use super::*;

            mod redis {
                use super::*;

                $(
                    #[test]
                    fn $test() {
                        ($block_on)(crate::on_runtimes::$test::<Redis>($runtime));
                    }
                )*

                #[test]
                fn those_who_wait_are_served_in_order() {
                    ($block_on)(crate::on_runtimes::those_who_wait_are_served_in_order($runtime));
                }

                #[test]
                fn a_cluster_serves_too() {
                    ($block_on)(crate::on_runtimes::a_cluster_serves_too($runtime));
                }
            }

            mod memcached {
                use super::*;

                $(
                    #[test]
                    fn $test() {
                        ($block_on)(crate::on_runtimes::$test::<Memcached>($runtime));
                    }
                )*
            }
        }
    };
}

serves!(on_tokio: Tokio, |test| tokio::runtime::Runtime::new().unwrap().block_on(test));
serves!(on_smol: Smol::new(), smol::block_on);
serves!(on_async_std: AsyncStd, async_std::task::block_on);

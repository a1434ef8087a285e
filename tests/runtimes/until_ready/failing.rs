//! A storage that fails or panics while some wait: the turn goes to the next one.

use std::fmt::Debug;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{FutureExt, join, join3};
use traffik::runtime::Manual;
use traffik::storage::{Local, WaitQueue, WhenFull};
use traffik::{
    AsyncLimiter, ErrorKind, FixedWindow, Gcra, Key, Limiter, Memory, Op, Rate, Storage, StorageError,
    Strategy, Timer, Timestamp, WaitError,
};

use super::crowd::{SECOND, all};

/// Fails or panics from the moment on at which the test says so.
struct Failing<M> {
    storage: M,
    fails: AtomicBool,
    panics: AtomicBool,
}

impl<M> Failing<M> {
    fn new(storage: M) -> Arc<Self> {
        Arc::new(Self { storage, fails: false.into(), panics: false.into() })
    }
}

impl<S: Strategy, M: Storage<S>> Storage<S> for Failing<M> {
    fn now(&self) -> Timestamp {
        self.storage.now()
    }

    fn apply<K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        assert!(!self.panics.load(Ordering::Relaxed), "it panics");
        if self.fails.load(Ordering::Relaxed) {
            return Err(StorageError::new(ErrorKind::Other, "it fails"));
        }
        self.storage.apply(strategy, key, op, now)
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        self.storage.load(key)
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        self.storage.wait_queue()
    }
}

/// Not even who is dropped while it panics asks the storage again, which would end the program.
fn who_panics_makes_way<M, V: Debug, E: Debug, F: Future<Output = Result<V, E>>>(
    runtime: &Manual,
    storage: &Failing<M>,
    wait: impl Fn() -> F,
) {
    let panics = |whether| storage.panics.store(whether, Ordering::Relaxed);
    let waits = all((0..6).map(|_| AssertUnwindSafe(wait()).catch_unwind()));
    let breaks = async {
        runtime.sleep(SECOND * 3 / 2).await;
        panics(true);
        runtime.sleep(SECOND).await;
        panics(false);
    };
    // The first two are admitted. Then all panic that have their turn, and later ones are served.
    let late = async {
        runtime.sleep(SECOND * 3).await;
        wait().await
    };
    let (told, (), late) = runtime.run(join3(waits, breaks, late)).unwrap();
    let told: Vec<_> = told.into_iter().map(|told| told.is_ok_and(|told| told.is_ok())).collect();
    assert_eq!(told, [true, true, false, false, false, false]);
    late.unwrap();
    assert_eq!(runtime.now().as_micros(), 3_000_000);
}

#[test]
fn who_panics_makes_way_in_both_limiters() {
    let (runtime, limit) = (Manual::new(), Gcra::new(Rate::per_second(1)));
    let storage = Failing::new(Memory::builder().clock(runtime.clone()).build());
    let limiter = Limiter::new(limit, Arc::clone(&storage));
    who_panics_makes_way(&runtime, &storage, || limiter.until_ready("key", &runtime));
    assert!(Storage::<Gcra>::wait_queue(&storage).unwrap().is_empty(&"key"));

    let runtime = Manual::new();
    let storage = Failing::new(Memory::builder().clock(runtime.clone()).build());
    let limiter = AsyncLimiter::new(limit, Local(Arc::clone(&storage)));
    who_panics_makes_way(&runtime, &storage, || limiter.until_ready("key", &runtime));
    assert!(Storage::<Gcra>::wait_queue(&storage).unwrap().is_empty(&"key"));
}

fn who_fails_makes_way<M, V: Debug, E: Debug, F: Future<Output = Result<V, WaitError<E>>>>(
    runtime: &Manual,
    storage: &Failing<M>,
    wait: impl Fn() -> F,
) {
    let waits = all((0..9).map(|_| wait()));
    let breaks = async {
        runtime.sleep(SECOND * 3 / 2).await;
        storage.fails.store(true, Ordering::Relaxed);
    };
    let (told, ()) = runtime.run(join(waits, breaks)).unwrap();
    assert_eq!(told.iter().filter(|told| told.is_ok()).count(), 4);
    assert!(told[4..].iter().all(|told| matches!(told, Err(WaitError::Storage(_)))));
    assert_eq!(runtime.now().as_micros(), 2_000_000);
}

#[test]
fn a_storage_that_fails_tells_everybody_in_line() {
    let (runtime, limit) = (Manual::new(), FixedWindow::new(Rate::per_second(2)));
    let storage = Failing::new(Memory::builder().clock(runtime.clone()).build());
    let limiter = Limiter::new(limit, Arc::clone(&storage));
    who_fails_makes_way(&runtime, &storage, || limiter.until_ready("key", &runtime));

    let runtime = Manual::new();
    let storage = Failing::new(Memory::builder().clock(runtime.clone()).build());
    let limiter = AsyncLimiter::new(limit, Local(Arc::clone(&storage)));
    who_fails_makes_way(&runtime, &storage, || limiter.until_ready("key", &runtime));
}

#[test]
fn a_storage_without_room_tells_those_who_come_alone() {
    let runtime = Manual::new();
    let full =
        Memory::<Gcra, _>::builder().capacity(1).when_full(WhenFull::Refuse).clock(runtime.clone()).build();
    let full = Limiter::new(Gcra::new(Rate::per_hour(1)), full);
    let errors = (0..200u32)
        .filter(|key| matches!(runtime.run(full.until_ready(key, &runtime)), Ok(Err(WaitError::Storage(_)))));
    assert!(errors.count() > 0);
}

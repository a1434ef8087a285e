//! Waiting in a storage whose answers are awaited: in the same queues, where only the first asks.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::poll_immediate;
use traffik::layer::{Failover, Timeout};
use traffik::runtime::{Manual, Runtime};
use traffik::storage::{AsyncStorage, BackendError, ErrorKind, Local, Reply, WaitQueue};
use traffik::{
    AsyncLimiter, ErasedKey, FifoQueue, FixedWindow, Gcra, LeakyBucketQueue, Limiter, Memory, Op, Outcome,
    Rate, Strategy, Timer, Timestamp, WaitError,
};

use super::crowd::{SECOND, all};

/// A storage that takes a millisecond to answer, and counts its calls.
struct Far<S: Strategy> {
    near: Local<Memory<S, Manual>>,
    runtime: Manual,
    queue: FifoQueue,
    calls: AtomicUsize,
}

impl<S: Strategy> Far<S> {
    fn new(runtime: &Manual) -> Self {
        let near = Local(Memory::builder().clock(runtime.clone()).build());
        Self { near, runtime: runtime.clone(), queue: FifoQueue::new(), calls: AtomicUsize::new(0) }
    }
}

impl<S: Strategy> AsyncStorage<S> for Far<S> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (answer, late) = (self.near.apply(strategy, key, op), self.runtime.sleep(SECOND / 1_000));
        Reply::pending(async {
            late.await;
            answer.await
        })
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.near.load(strategy, key)
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.queue)
    }
}

#[test]
fn only_the_first_asks_and_the_others_follow_in_order() {
    let runtime = Manual::new();
    let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_second(3)), Far::new(&runtime));
    let served = std::cell::RefCell::new(Vec::new());
    let wait = |number: usize| {
        let (limiter, runtime, served) = (&limiter, &runtime, &served);
        async move {
            assert!(limiter.until_ready("key", runtime).await.unwrap().is_allowed());
            served.borrow_mut().push((number, runtime.now().as_micros() / 1_000_000));
        }
    };
    runtime.run(all((0..30).map(wait))).unwrap();
    let expected: Vec<_> = (0..30).map(|number| (number, number as u64 / 3)).collect();
    assert_eq!(*served.borrow(), expected);
    // All asked when they came, for then nobody waited; later each at its turn, and once more if that was too soon.
    let calls = limiter.storage().calls.load(Ordering::Relaxed);
    assert!(calls <= 30 + 27 + 9, "{calls}");
    assert_eq!(limiter.storage().queue.waiting(), 0);
}

#[test]
fn who_gives_up_makes_way_also_while_it_asks() {
    let runtime = Manual::new();
    let limiter = AsyncLimiter::new(Gcra::new(Rate::per_second(1)), Far::new(&runtime));
    runtime
        .run(async {
            assert!(limiter.check("key").await.unwrap().is_allowed());
            let mut first = Box::pin(limiter.until_ready("key", &runtime));
            assert!(runtime.timeout(SECOND / 2, first.as_mut()).await.is_err());
            let (second, mut third) =
                (limiter.until_ready("key", &runtime), Box::pin(limiter.until_ready("key", &runtime)));
            let mut second = pin!(second);
            assert!(poll_immediate(second.as_mut()).await.is_none());
            assert!(poll_immediate(third.as_mut()).await.is_none());
            assert_eq!(limiter.storage().queue.waiting(), 3);
            // The second becomes the first, and asks; it sleeps for the wait of its denial.
            drop(first);
            assert!(second.await.unwrap().is_allowed());
            assert_eq!(runtime.now().as_micros() / 10_000, 100);
            assert!(runtime.timeout(SECOND / 10, third.as_mut()).await.is_err());
            drop(third);
            assert_eq!(limiter.storage().queue.waiting(), 0);
        })
        .unwrap();
}

#[test]
fn a_local_storage_has_one_line_for_both_ways_of_asking() {
    let runtime = Manual::new();
    let storage = Arc::new(Memory::builder().clock(runtime.clone()).build());
    let limit = Gcra::new(Rate::per_second(1));
    let near = Limiter::new(limit, Arc::clone(&storage));
    let far: AsyncLimiter<Gcra, Arc<dyn AsyncStorage<Gcra>>> =
        AsyncLimiter::new(limit, Arc::new(Local(storage)));
    let times = runtime.run(all((0..10u64).map(|number| {
        let (near, far, runtime) = (&near, &far, &runtime);
        async move {
            if number % 2 == 0 {
                assert!(near.until_ready("key", runtime).await.unwrap().is_allowed());
            } else {
                assert!(far.until_ready("key", runtime).await.unwrap().is_allowed());
            }
            runtime.now().as_micros()
        }
    })));
    assert_eq!(times.unwrap(), (0..10).map(|number| number * 1_000_000).collect::<Vec<_>>());
}

/// Behind others it costs no call.
#[test]
fn what_can_never_pass_is_told_at_once_also_behind_others() {
    let runtime = Manual::new();
    let limiter = AsyncLimiter::new(Gcra::new(Rate::per_second(1)), Far::new(&runtime));
    let mut waits = pin!(all([(); 2].map(|()| limiter.until_ready("key", &runtime))));
    runtime
        .run(async {
            assert!(runtime.timeout(SECOND / 2, waits.as_mut()).await.is_err());
            let (calls, now) = (limiter.storage().calls.load(Ordering::Relaxed), runtime.now());
            let told = poll_immediate(limiter.until_ready_n("key", 2, &runtime)).await;
            assert!(matches!(told, Some(Err(WaitError::Never))));
            assert_eq!((limiter.storage().calls.load(Ordering::Relaxed), runtime.now()), (calls, now));
            assert!(waits.await.iter().all(Result::is_ok));
        })
        .unwrap();
}

/// Drops a wait during the delay of its admission. Returns the delay of the next hit.
fn delay_after_a_drop(runtime: &Manual, storage: impl AsyncStorage<LeakyBucketQueue>) -> Duration {
    let limiter = AsyncLimiter::new(LeakyBucketQueue::new(Rate::per_second(1)).queue(5).unwrap(), storage);
    let next = runtime.run(async {
        assert!(limiter.until_ready("key", runtime).await.unwrap().is_allowed());
        let waits = limiter.until_ready("key", runtime);
        assert!(runtime.timeout(SECOND / 2, waits).await.is_err());
        limiter.check("key").await.unwrap().outcome()
    });
    let Outcome::Allow { after } = next.unwrap() else { unreachable!("there is room") };
    after
}

#[test]
fn an_admission_with_a_delay_is_refunded_where_that_need_not_be_awaited() {
    let runtime = Manual::new();
    let near = || Local(Memory::builder().clock(runtime.clone()).build());
    assert_eq!(delay_after_a_drop(&runtime, near()), SECOND / 2);
    let within = Timeout::new(near(), runtime.clone(), SECOND);
    assert_eq!(delay_after_a_drop(&runtime, within), SECOND / 2);
    // A failover answers refunds only once they are polled.
    let failover = Failover::builder(near(), near()).clock(runtime.clone()).build();
    assert_eq!(delay_after_a_drop(&runtime, failover), SECOND / 2);
    assert!(delay_after_a_drop(&runtime, Far::new(&runtime)) > SECOND);
}

#[test]
fn what_cannot_be_waited_for_is_told() {
    let runtime = Manual::new();
    let limiter =
        AsyncLimiter::new(LeakyBucketQueue::new(Rate::per_second(1)).queue(1).unwrap(), Far::new(&runtime));
    runtime
        .run(async {
            let never = limiter.until_ready_n("key", 3, &runtime).await;
            assert!(matches!(never, Err(WaitError::Never)));
            // The second is admitted with a delay, and the third when there is room.
            for second in 0..4 {
                assert!(limiter.until_ready("key", &runtime).await.unwrap().is_allowed());
                assert_eq!(runtime.now().as_micros() / 10_000, second * 100);
            }
        })
        .unwrap();
    struct Broken;
    impl AsyncStorage<Gcra> for Broken {
        fn apply(&self, _: &Gcra, _: &dyn ErasedKey, _: &Op<Gcra>) -> Reply<<Gcra as Strategy>::Verdict> {
            Reply::ready(Err(BackendError::new(ErrorKind::Unavailable, "out of order")))
        }
        fn load(&self, _: &Gcra, _: &dyn ErasedKey) -> Reply<(<Gcra as Strategy>::State, Timestamp)> {
            Reply::ready(Err(BackendError::new(ErrorKind::Unavailable, "out of order")))
        }
    }
    let broken = AsyncLimiter::new(Gcra::new(Rate::per_second(1)), Broken);
    let told = runtime.run(broken.until_ready("key", &runtime)).unwrap().unwrap_err();
    assert_eq!(told.to_string(), "out of order");
}

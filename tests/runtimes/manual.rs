//! Virtual time: to the microsecond, in order, and the same every time.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use traffik::Memory;
use traffik::runtime::{Elapsed, Manual, Runtime, Stalled, Tokio};
use traffik::{Clock, Gcra, Limiter, Rate, Timer, Timestamp, WaitError};

const SECOND: Duration = Duration::from_secs(1);

/// The events, and their times.
#[derive(Clone)]
struct Log(Manual, Arc<Mutex<Vec<(u64, &'static str)>>>);

impl Log {
    fn of(runtime: &Manual) -> Self {
        Self(runtime.clone(), Arc::default())
    }

    fn note(&self, what: &'static str) {
        self.1.lock().unwrap().push((self.0.now().as_micros(), what));
    }

    fn take(&self) -> Vec<(u64, &'static str)> {
        std::mem::take(&mut *self.1.lock().unwrap())
    }

    /// Notes this after a while.
    fn spawn(&self, wait: Duration, what: &'static str) {
        let (log, sleep) = (self.clone(), self.0.sleep(wait));
        self.0.spawn(async move {
            sleep.await;
            log.note(what);
        });
    }
}

#[test]
fn alarms_ring_in_order_each_at_its_time_and_none_before() {
    let runtime = Manual::at(Timestamp::from_micros(7));
    let log = Log::of(&runtime);
    for (micros, what) in [(30, "c"), (10, "a"), (20, "b"), (10, "a too"), (0, "at once")] {
        log.spawn(Duration::from_micros(micros), what);
    }
    log.spawn(Duration::from_nanos(1), "rounded up");
    assert_eq!(log.take(), []);
    runtime.advance(Duration::ZERO);
    assert_eq!(log.take(), [(7, "at once")]);
    runtime.advance(Duration::from_micros(9));
    assert_eq!((runtime.now().as_micros(), log.take()), (16, vec![(8, "rounded up")]));
    // A jump rings each at its own time.
    runtime.advance(SECOND);
    assert_eq!(log.take(), [(17, "a"), (17, "a too"), (27, "b"), (37, "c")]);
    assert_eq!(runtime.now().as_micros(), 1_000_016);
}

#[test]
fn between_two_alarms_all_goes_on_that_can() {
    let runtime = Manual::new();
    let log = Log::of(&runtime);
    let inner = log.clone();
    runtime.spawn(async move {
        inner.0.sleep(SECOND).await;
        inner.note("first");
        inner.spawn(Duration::ZERO, "its child");
        inner.spawn(SECOND, "its late child");
    });
    runtime.advance(Duration::ZERO);
    log.spawn(SECOND, "second");
    runtime.advance(SECOND * 3);
    let at = 1_000_000;
    assert_eq!(log.take(), [(at, "first"), (at, "its child"), (at, "second"), (2 * at, "its late child")]);
}

#[test]
fn every_run_is_the_same() {
    let told = || {
        let runtime = Manual::new();
        let log = Log::of(&runtime);
        for task in 0..50u64 {
            let log = log.clone();
            runtime.clone().spawn(async move {
                for step in 1..20u64 {
                    log.0.sleep(Duration::from_micros((task * 7 + step * 13) % 11)).await;
                    log.note(["one", "two", "three"][(task % 3) as usize]);
                }
            });
        }
        runtime.advance(SECOND);
        log.take()
    };
    let first = told();
    assert_eq!(first.len(), 50 * 19);
    assert!(first.is_sorted_by_key(|(at, _)| *at));
    assert_eq!(told(), first);
}

#[test]
fn a_run_moves_time_by_what_it_needs() {
    let runtime = Manual::new();
    let log = Log::of(&runtime);
    log.spawn(SECOND * 5, "meanwhile");
    log.spawn(SECOND * 30, "too late");
    let waited = runtime.run(async {
        runtime.sleep(SECOND * 10).await;
        runtime.timeout(SECOND * 2, pending::<()>()).await
    });
    assert_eq!(waited, Ok(Err(Elapsed(SECOND * 2))));
    assert_eq!((runtime.now().as_micros(), log.take()), (12_000_000, vec![(5_000_000, "meanwhile")]));
    // The spawned task is still there.
    runtime.advance(SECOND * 18);
    assert_eq!(log.take(), [(30_000_000, "too late")]);
}

#[test]
fn what_waits_for_nothing_on_this_runtime_is_told() {
    let runtime = Manual::new();
    assert_eq!(runtime.run(pending::<()>()), Err(Stalled));
    assert_eq!(runtime.run(runtime.sleep(Duration::MAX)), Err(Stalled));
    assert_eq!(runtime.now(), Timestamp::EPOCH);
    // It was not for want of being asked again.
    let asked = Cell::new(0);
    let twice = poll_fn(|context| {
        asked.set(asked.get() + 1);
        context.waker().wake_by_ref();
        if asked.get() == 2 { Poll::Ready(()) } else { Poll::Pending }
    });
    assert_eq!(runtime.run(twice), Ok(()));
}

#[test]
fn an_interval_never_drifts() {
    let runtime = Manual::new();
    let mut ticks = Vec::new();
    let period = Duration::from_micros(100);
    let mut interval = runtime.interval(period);
    runtime
        .run(async {
            // Work of 30, then of 250, which misses two ticks and gets one for both at once; a tick that is given up half-way.
            for work in [30, 250, 30, 0, 0] {
                interval.tick().await;
                ticks.push(runtime.now().as_micros());
                runtime.sleep(Duration::from_micros(work)).await;
                assert!(work == 250 || poll_immediate(interval.tick()).await.is_none());
            }
            for _ in 0..1_000_000 {
                interval.tick().await;
            }
        })
        .unwrap();
    assert_eq!(ticks, [100, 200, 450, 500, 600]);
    assert_eq!(runtime.now().as_micros(), 600 + 100_000_000);
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_dropped_sleep_sets_no_alarm_and_one_polled_twice_sets_one() {
    let runtime = Manual::new();
    let counted = Arc::<Counted>::default();
    let waker = Waker::from(Arc::clone(&counted));
    let mut context = Context::from_waker(&waker);
    let mut sleeps = [1, 1, 2].map(|seconds| Box::pin(runtime.sleep(SECOND * seconds)));
    for sleep in &mut sleeps {
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
    }
    let [dropped, mut kept, _late] = sleeps;
    drop(dropped);
    runtime.advance(SECOND);
    assert_eq!(counted.0.load(Ordering::Relaxed), 1);
    assert!(kept.as_mut().poll(&mut context).is_ready());
    // Three wakers are left: this one, the one in hand, and the alarm of the late sleep.
    assert_eq!(Arc::strong_count(&counted), 3);
}

/// To drop a waker drops the task, and with it another sleep of the same runtime.
#[test]
fn a_task_that_is_dropped_with_its_alarm_may_hold_others() {
    struct Holds(#[expect(dead_code, reason = "it is dropped")] Mutex<Option<Box<dyn Send>>>);
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {}
    }
    let runtime = Manual::new();
    let mut held = Box::pin(runtime.sleep(SECOND));
    assert!(held.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let waker = Waker::from(Arc::new(Holds(Mutex::new(Some(Box::new(held))))));
    let mut outer = Box::pin(runtime.sleep(SECOND));
    assert!(outer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    drop(outer);
    assert_eq!(runtime.run(pending::<()>()), Err(Stalled));
}

#[test]
fn time_ends_without_a_panic() {
    let runtime = Manual::at(Timestamp::from_micros(u64::MAX - 5));
    runtime.run(runtime.sleep(Duration::from_micros(4))).unwrap();
    runtime.advance(Duration::MAX);
    assert_eq!(Clock::now(&runtime), Timestamp::MAX);
    let began = Runtime::now(&Manual::new());
    let old = Manual::new();
    old.advance(Duration::MAX);
    // Even after this long time there is an instant.
    assert!(Runtime::now(&old) >= began);
    assert_eq!(old.run(old.sleep(SECOND)), Err(Stalled));
}

#[test]
fn a_limiter_goes_by_it_in_every_way() {
    let runtime = Manual::new();
    let storage = Memory::builder().clock(runtime.clone()).build();
    let limiter = Limiter::new(Gcra::new(Rate::per_minute(60)), storage);
    let wait = |key: &'static str| async {
        for second in 0..3_600 {
            assert!(limiter.until_ready(key, &runtime).await.unwrap().is_allowed());
            assert_eq!(limiter.now(), Timestamp::EPOCH + SECOND * second);
        }
    };
    runtime.run(join_all(["a", "b", "c"].map(wait))).unwrap();
    let closed = Limiter::new(Gcra::new(Rate::per_second(0)), Memory::new(1));
    assert_eq!(runtime.run(closed.until_ready("key", &runtime)), Ok(Err(WaitError::Never)));
}

#[tokio::test(start_paused = true)]
async fn the_tokio_runtime_stands_still_where_tokio_does() {
    let began = Tokio.now();
    let mut interval = Tokio.interval(SECOND);
    for tick in 1..=60 {
        interval.tick().await;
        assert_eq!(Tokio.now() - began, SECOND * tick);
    }
}

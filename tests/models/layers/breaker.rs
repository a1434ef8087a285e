//! `CircuitBreaker`, over a storage that fails on demand, in virtual time.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use traffik::layer::{Breaker, BreakerBuilder, BreakerState, CircuitBreaker, CircuitOpen};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, BackendError, MultiKeyReply, Reply};
use traffik::{AsyncLimiter, Decision, ErasedKey, ErrorKind, Gcra, Hit, Op, Ratio, Timer, Timestamp, rate};

const SECOND: Duration = Duration::from_secs(1);

/// Answers as the test says, after the time that it says, and counts the calls.
#[derive(Clone)]
struct Faulty(Arc<Parts>);

struct Parts {
    runtime: Manual,
    calls: AtomicU32,
    answer: Mutex<(Duration, Option<ErrorKind>)>,
    panics: AtomicBool,
}

impl Faulty {
    fn new(runtime: &Manual) -> Self {
        let (answer, panics) = (Mutex::new((Duration::ZERO, None)), AtomicBool::new(false));
        Self(Arc::new(Parts { runtime: runtime.clone(), calls: AtomicU32::new(0), answer, panics }))
    }

    fn will(&self, after: Duration, answer: Option<ErrorKind>) {
        *self.0.answer.lock().unwrap() = (after, answer);
    }

    fn calls(&self) -> u32 {
        self.0.calls.load(Ordering::Relaxed)
    }
}

impl AsyncStorage<Gcra> for Faulty {
    fn apply(&self, _: &Gcra, _: &dyn ErasedKey, _: &Op<Gcra>) -> Reply<Decision> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let (after, answer) = *self.0.answer.lock().unwrap();
        let parts = Arc::clone(&self.0);
        let answer = move || {
            assert!(!parts.panics.load(Ordering::Relaxed), "it is to panic");
            answer.map_or(Ok(Decision::unlimited()), |kind| Err(BackendError::new(kind, "down")))
        };
        if after.is_zero() {
            return Reply::ready(answer());
        }
        let sleep = self.0.runtime.sleep(after);
        Reply::pending(async move {
            sleep.await;
            answer()
        })
    }

    fn load(&self, _: &Gcra, _: &dyn ErasedKey) -> Reply<(traffik::strategy::Level, Timestamp)> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Reply::ready(Ok(Default::default()))
    }

    fn check_together(&self, _: &Gcra, _: &[&dyn ErasedKey], _: &Hit) -> Reply<MultiKeyReply<Decision>> {
        Reply::ready(Ok(MultiKeyReply::Unsupported))
    }
}

type Limits = AsyncLimiter<Gcra, CircuitBreaker<Faulty>>;

fn limits(
    runtime: &Manual,
    with: impl FnOnce(BreakerBuilder) -> BreakerBuilder,
) -> (Limits, Faulty, Breaker) {
    let faulty = Faulty::new(runtime);
    let builder = Breaker::builder("store").clock(runtime.clone()).seed(7);
    let breaker = with(builder.open_for(SECOND).jitter(Duration::ZERO)).build().unwrap();
    let storage = CircuitBreaker::new(faulty.clone(), &breaker);
    (AsyncLimiter::new(Gcra::new(rate!("1/s")), storage), faulty, breaker)
}

fn ask(runtime: &Manual, limits: &Limits) -> Result<Decision, BackendError> {
    runtime.run(limits.check("key")).unwrap()
}

/// Starts a call and leaves it on its way.
fn start<F: Future + Unpin>(mut call: F) -> F {
    assert!(pin!(&mut call).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    call
}

/// A connection that breaks takes all calls on it along. Calls that no store answers, which begin one after
/// another, count one by one.
#[test]
fn calls_that_fail_together_are_one_failure() {
    let runtime = Manual::new();
    let (limits, faulty, breaker) = limits(&runtime, |it| it.failures(3));
    faulty.will(SECOND, Some(ErrorKind::Timeout));
    for losses in 1..3 {
        let calls: Vec<_> = (0..64).map(|_| start(limits.check("key"))).collect();
        assert!(runtime.run(join_all(calls)).unwrap().iter().all(Result::is_err));
        assert_eq!(breaker.state(), BreakerState::Closed, "{losses} losses");
    }
    faulty.will(Duration::ZERO, None);
    let _ = ask(&runtime, &limits).unwrap();
    faulty.will(SECOND, Some(ErrorKind::Timeout));
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(start(limits.check("key")));
        runtime.advance(Duration::from_millis(6));
    }
    assert!(runtime.run(join_all(calls)).unwrap().iter().all(Result::is_err));
    assert!(matches!(breaker.state(), BreakerState::Open(_)));
}

#[test]
fn failures_in_a_row_open_it_and_open_never_touches_the_storage() {
    let runtime = Manual::new();
    let (limits, faulty, breaker) = limits(&runtime, |it| it.failures(3));
    for answer in [Some(ErrorKind::Timeout), Some(ErrorKind::Other), None, Some(ErrorKind::Unavailable)] {
        faulty.will(Duration::ZERO, answer);
        let _ = ask(&runtime, &limits);
    }
    assert_eq!(breaker.state(), BreakerState::Closed, "one of them succeeded");
    let _ = ask(&runtime, &limits);
    assert_eq!(breaker.state(), BreakerState::Closed);
    let _ = ask(&runtime, &limits);
    let until = runtime.now() + SECOND;
    assert_eq!(breaker.state(), BreakerState::Open(until));

    let before = faulty.calls();
    for _ in 0..100 {
        let failure = ask(&runtime, &limits).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        let open = failure.cause().downcast_ref::<CircuitOpen>().unwrap();
        assert_eq!((&*open.breaker, open.state), ("store", BreakerState::Open(until)));
        assert_eq!(
            failure.to_string(),
            "the circuit breaker store is open; it passes the next call at 1.000000 s on its clock"
        );
        assert!(runtime.run(limits.stat("key")).unwrap().is_err());
        assert!(runtime.run(limits.check_together([&"a", &"b"], 1)).unwrap().is_err());
    }
    assert_eq!((faulty.calls(), breaker.refused()), (before, 300));
}

#[test]
fn what_only_one_call_is_to_blame_for_does_not_count() {
    let runtime = Manual::new();
    let (limits, faulty, breaker) = limits(&runtime, |it| it.failures(1));
    for kind in [ErrorKind::Contended, ErrorKind::Full, ErrorKind::Invalid, ErrorKind::Corrupt] {
        faulty.will(Duration::ZERO, Some(kind));
        assert_eq!(ask(&runtime, &limits).unwrap_err().kind(), kind);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

#[test]
fn a_share_of_the_calls_opens_it_once_there_are_enough_and_old_ones_are_forgotten() {
    let runtime = Manual::new();
    let half = Ratio::new(1, 2).unwrap();
    let (limits, faulty, breaker) = limits(&runtime, |it| it.failure_rate(half, 6, 10 * SECOND));
    faulty.will(Duration::ZERO, Some(ErrorKind::Unavailable));
    for _ in 0..5 {
        let _ = ask(&runtime, &limits);
    }
    assert_eq!(breaker.state(), BreakerState::Closed, "five calls are too few");
    runtime.advance(10 * SECOND);
    for answer in [None, None, None, Some(ErrorKind::Timeout), Some(ErrorKind::Timeout)] {
        faulty.will(Duration::ZERO, answer);
        let _ = ask(&runtime, &limits);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
    runtime.advance(5 * SECOND);
    let _ = ask(&runtime, &limits);
    assert_eq!(breaker.state(), BreakerState::Open(runtime.now() + SECOND), "three of six");
}

#[test]
fn slow_calls_count_whatever_they_answer_and_whoever_gives_up_on_them() {
    let runtime = Manual::new();
    let (limits, faulty, breaker) = limits(&runtime, |it| it.failures(2).slow(SECOND));
    faulty.will(SECOND, None);
    assert!(ask(&runtime, &limits).is_ok());
    faulty.will(10 * SECOND, None);
    let call = start(limits.check("key"));
    drop(start(limits.check("key")));
    assert_eq!(breaker.state(), BreakerState::Closed, "nothing is known of a call that was dropped at once");
    runtime.advance(SECOND);
    drop(call);
    assert_eq!(breaker.state(), BreakerState::Open(runtime.now() + SECOND));
}

#[test]
fn half_open_one_probe_passes_at_a_time_and_a_dropped_one_leaves_its_place() {
    let runtime = Manual::new();
    let (limits, faulty, breaker) = limits(&runtime, |it| it.failures(1).successes(2));
    faulty.will(Duration::ZERO, Some(ErrorKind::Timeout));
    let _ = ask(&runtime, &limits);
    faulty.will(SECOND, None);
    runtime.advance(SECOND - Duration::from_micros(1));
    assert!(ask(&runtime, &limits).is_err());
    assert_eq!(faulty.calls(), 1);

    runtime.advance(Duration::from_micros(1));
    let probe = start(limits.check("key"));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    let refused = ask(&runtime, &limits).unwrap_err();
    assert!(refused.to_string().contains("tries the storage with one call"), "{refused}");
    assert_eq!(faulty.calls(), 2);
    drop(probe);
    // Cannot do it, which tells nothing of the store.
    drop(limits.storage().check_together(limits.strategy(), &[], &Hit::new(1)));
    for calls in [3, 4] {
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(ask(&runtime, &limits).is_ok());
        assert_eq!(faulty.calls(), calls);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_probe_that_fails_opens_it_again_and_late_answers_count_for_nothing() {
    let runtime = Manual::new();
    let (limits, faulty, breaker) = limits(&runtime, |it| it.failures(1));
    faulty.will(3 * SECOND, None);
    let late = start(limits.check("key"));
    faulty.will(Duration::ZERO, Some(ErrorKind::Timeout));
    let _ = ask(&runtime, &limits);
    runtime.advance(SECOND);
    let _ = ask(&runtime, &limits);
    let open = BreakerState::Open(Timestamp::EPOCH + 2 * SECOND);
    assert_eq!(breaker.state(), open);
    assert!(runtime.run(late).unwrap().is_ok());
    assert_eq!(breaker.state(), open, "it was asked before");
}

#[test]
fn it_can_be_forced_and_released_and_listeners_hear_of_it_all() {
    let runtime = Manual::new();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    let (limits, faulty, breaker) = limits(&runtime, |it| {
        it.failures(1).on_change(move |change| told.lock().unwrap().push((change.number, change.to)))
    });
    breaker.force_open();
    breaker.force_open();
    runtime.advance(100 * SECOND);
    assert!(ask(&runtime, &limits).is_err());
    assert_eq!(faulty.calls(), 0);
    breaker.force_close();
    faulty.will(Duration::ZERO, Some(ErrorKind::Timeout));
    for _ in 0..10 {
        let _ = ask(&runtime, &limits);
    }
    assert_eq!((faulty.calls(), breaker.state()), (10, BreakerState::ForcedClosed));
    breaker.release();
    let _ = ask(&runtime, &limits);
    runtime.advance(SECOND);
    faulty.will(Duration::ZERO, None);
    let _ = ask(&runtime, &limits);
    let states = [
        BreakerState::ForcedOpen,
        BreakerState::ForcedClosed,
        BreakerState::Closed,
        BreakerState::Open(Timestamp::EPOCH + 101 * SECOND),
        BreakerState::HalfOpen,
        BreakerState::Closed,
    ];
    let expected: Vec<_> = (1..).zip(states).collect();
    assert_eq!(*heard.lock().unwrap(), expected);
}

#[test]
fn a_panic_of_a_listener_or_of_the_storage_leaves_the_place_of_a_probe() {
    let runtime = Manual::new();
    let (limits, faulty, breaker) = limits(&runtime, |it| {
        it.failures(1).on_change(|change| assert_ne!(change.to, BreakerState::HalfOpen, "it is to panic"))
    });
    let panics = || catch_unwind(AssertUnwindSafe(|| ask(&runtime, &limits))).is_err();
    faulty.will(Duration::ZERO, Some(ErrorKind::Timeout));
    let _ = ask(&runtime, &limits);
    runtime.advance(SECOND);
    assert!(panics(), "its listener");
    // Then the storage does, within its call and within its answer.
    for after in [Duration::ZERO, SECOND] {
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let calls = faulty.calls();
        faulty.will(after, None);
        faulty.0.panics.store(true, Ordering::Relaxed);
        assert!(panics(), "the storage");
        faulty.0.panics.store(false, Ordering::Relaxed);
        assert_eq!(faulty.calls(), calls + 1, "it was asked");
    }
    assert!(ask(&runtime, &limits).is_ok());
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn storages_share_a_breaker_and_jitter_keeps_breakers_apart() {
    let runtime = Manual::new();
    let mut times = Vec::new();
    for seed in 0..50 {
        let with = Breaker::builder("store").clock(runtime.clone()).failures(1).seed(seed);
        let breaker = with.open_for(SECOND).jitter(SECOND).build().unwrap();
        let (one, other) = (Faulty::new(&runtime), Faulty::new(&runtime));
        one.will(Duration::ZERO, Some(ErrorKind::Timeout));
        let over = |it: &Faulty| {
            AsyncLimiter::new(Gcra::new(rate!("1/s")), CircuitBreaker::new(it.clone(), &breaker))
        };
        let _ = ask(&runtime, &over(&one));
        assert!(ask(&runtime, &over(&other)).is_err());
        assert_eq!(other.calls(), 0);
        let BreakerState::Open(until) = breaker.state() else { unreachable!("it is open") };
        assert!(until >= runtime.now() + SECOND && until <= runtime.now() + 2 * SECOND);
        times.push(until);
    }
    times.sort_unstable();
    times.dedup();
    assert!(times.len() > 40, "{}", times.len());
}

#[test]
fn what_could_never_open_or_close_is_refused() {
    let refused: [fn(BreakerBuilder) -> BreakerBuilder; 6] = [
        |it| it.failures(0),
        |it| it.successes(0),
        |it| it.open_for(Duration::ZERO),
        |it| it.slow(Duration::ZERO),
        |it| it.failure_rate(Ratio::ZERO, 1, SECOND),
        |it| it.failure_rate(Ratio::ONE, 0, SECOND),
    ];
    for with in refused {
        assert_eq!(with(Breaker::builder("x")).build().unwrap_err().kind(), ErrorKind::Invalid);
    }
}

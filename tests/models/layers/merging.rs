//! How a failover tells the primary what its fallback admitted: in how many calls, who waits for them, and
//! what becomes of it where a call fails, is given up or meets a refund.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use traffik::layer::{Failover, FailoverBuilder};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, Reply};
use traffik::{
    AsyncLimiter, Class, Decision, ErrorKind, HeapLog, Hit, Label, Op, Origin, Rate, Ratio, Receipt, Regions,
    Strategy, Timestamp, TokenBucket, rate,
};
use traffik_test_support::faulty::{Course, Faulty, MILLI, SECOND, WELL, after, before, slow};

type Store = Faulty<TokenBucket>;

struct Setup {
    runtime: Manual,
    limits: AsyncLimiter<TokenBucket, Failover<TokenBucket, Store, Store>>,
    primary: Store,
}

/// In the time that tests take, nothing drains.
fn limit() -> TokenBucket {
    TokenBucket::new(rate!("1/h")).burst(100_000).unwrap()
}

fn setup(
    with: impl FnOnce(FailoverBuilder<TokenBucket, Store, Store>) -> FailoverBuilder<TokenBucket, Store, Store>,
) -> Setup {
    let runtime = Manual::new();
    let (primary, fallback) = (Store::new(&runtime), Store::new(&runtime));
    let storage = with(Failover::builder(primary.clone(), fallback).clock(runtime.clone()).merge()).build();
    Setup { runtime, limits: AsyncLimiter::new(limit(), storage), primary }
}

impl Setup {
    fn hit(&self, hit: Hit) -> Decision {
        let reply = self.limits.storage().apply(&limit(), &"key", &Op::Check(hit));
        self.runtime.run(reply).unwrap().unwrap()
    }

    /// Lets the fallback admit this number of hits.
    fn admit(&self, count: u32) -> Vec<Receipt> {
        self.primary.always(before(ErrorKind::Unavailable));
        let receipts = (0..count).map(|_| self.hit(Hit::new(1)).receipt()).collect();
        self.primary.always(WELL);
        receipts
    }

    /// Another key finds that the primary is back.
    fn is_back(&self) {
        assert!(self.runtime.run(self.limits.check("another")).unwrap().unwrap().is_allowed());
    }

    /// The cost that the primary has been charged with, by its own figures.
    fn used(&self) -> u32 {
        100_000 - self.runtime.run(self.primary.honest(limit()).peek("key", 0)).unwrap().unwrap().remaining()
    }

    fn refund(&self, receipt: Receipt) -> Decision {
        self.runtime.run(self.limits.refund("key", 1, receipt)).unwrap().unwrap()
    }
}

/// Starts a call and leaves it on its way.
fn poll<F: Future + Unpin>(call: &mut F) -> Poll<F::Output> {
    pin!(call).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn however_much_was_admitted_of_a_key_it_is_one_call() {
    let it = setup(|it| it);
    let _ = it.admit(10_000);
    let calls = it.primary.calls();
    assert!(it.hit(Hit::new(1)).is_allowed());
    assert_eq!((it.primary.calls() - calls, it.used()), (3, 10_001), "tried with one, then with all others");
    let _ = it.hit(Hit::new(1));
    assert_eq!((it.primary.calls() - calls, it.used()), (4, 10_002));

    let it = setup(|it| it);
    let _ = it.admit(10_000);
    it.is_back();
    let calls = it.primary.calls();
    assert!(it.hit(Hit::new(1)).is_allowed());
    assert_eq!((it.primary.calls() - calls, it.used()), (2, 10_001), "it is known to be back");
}

#[test]
fn each_class_and_each_sum_that_can_be_told_is_a_call_and_eight_are_the_most() {
    let it = setup(|it| it);
    let of = |number| {
        let mut class = Class::default();
        class.tier = Label(number);
        Hit::new(1).with_class(class)
    };
    it.primary.always(before(ErrorKind::Unavailable));
    for number in 0..30 {
        let _ = it.hit(of(number % 10));
    }
    it.primary.always(WELL);
    it.is_back();
    let calls = it.primary.calls();
    let _ = it.hit(Hit::new(0));
    assert_eq!((it.primary.calls() - calls, it.used()), (9, 24));
    let _ = it.hit(Hit::new(0));
    assert_eq!((it.primary.calls() - calls, it.used()), (12, 30));

    let (it, most) = (setup(|it| it), u32::MAX);
    let wide = TokenBucket::new(rate!("4000000000/h")).burst(most).unwrap();
    let ask = |op| it.runtime.run(it.limits.storage().apply(&wide, &"key", &op)).unwrap().unwrap();
    it.primary.always(before(ErrorKind::Unavailable));
    for _ in 0..2 {
        let _ = ask(Op::Charge(Hit::new(most)));
    }
    it.primary.always(WELL);
    let calls = it.primary.calls();
    let wait = ask(Op::Check(Hit::new(1))).retry_after().unwrap();
    assert_eq!(it.primary.calls() - calls, 3, "so much cannot be told at once");
    assert!(wait > Duration::from_secs(3_600), "both count");
}

#[test]
fn whoever_asks_meanwhile_waits_for_the_charge_too_and_carries_it_on() {
    let it = setup(|it| it);
    let _ = it.admit(3);
    it.is_back();
    it.primary.next(&[slow(SECOND)]);
    let mut first = it.limits.check("key");
    assert!(poll(&mut first).is_pending());
    let calls = it.primary.calls();
    let (mut second, mut third) = (it.limits.check("key"), it.limits.check("key"));
    assert!(poll(&mut second).is_pending() && poll(&mut third).is_pending());
    assert_eq!(it.primary.calls(), calls, "the primary is not asked before it was charged");
    // Neither one that leaves nor one that is kept without being awaited holds up the others.
    drop(second);
    assert!(it.runtime.run(third).unwrap().unwrap().is_allowed());
    assert_eq!((it.used(), it.runtime.now()), (4, Timestamp::EPOCH + 2 * SECOND));
    assert!(it.runtime.run(first).unwrap().unwrap().is_allowed());
    assert_eq!((it.used(), it.primary.calls() - calls), (5, 2));
}

#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn all_who_wait_are_woken() {
    let it = setup(|it| it);
    let _ = it.admit(1);
    it.primary.next(&[slow(SECOND)]);
    let waiters: Vec<_> = (0..3).map(|_| (it.limits.check("key"), Arc::new(Counted::default()))).collect();
    let mut waiters = waiters;
    for (call, woken) in &mut waiters {
        let waker = Waker::from(Arc::clone(woken));
        assert!(pin!(call).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    it.runtime.advance(3 * SECOND);
    for (_, woken) in &waiters {
        assert!(woken.0.load(Ordering::Relaxed) > 0);
    }
    for (call, _) in waiters {
        assert!(it.runtime.run(call).unwrap().unwrap().is_allowed());
    }
    assert_eq!(it.used(), 4);
}

#[test]
fn what_all_have_given_up_may_be_charged_and_is_not_repeated() {
    let it = setup(|it| it);
    let _ = it.admit(3);
    it.primary.next(&[slow(SECOND)]);
    let mut calls = [it.limits.check("key"), it.limits.check("key")];
    assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
    drop(calls);
    assert!(it.hit(Hit::new(1)).is_allowed());
    it.runtime.advance(2 * SECOND);
    assert_eq!(it.used(), 4);
}

#[test]
fn where_the_charge_fails_the_fallback_decides_on_all_who_waited_and_none_of_them_was_sent() {
    for (fails, used) in [(before(ErrorKind::Unavailable), 6), (after(ErrorKind::Timeout), 6)] {
        for after_timeouts in [false, true] {
            let it = setup(|it| if after_timeouts { it.after_timeouts() } else { it });
            let _ = it.admit(3);
            it.primary.next(&[Course { takes: [MILLI; 2], ..fails }]);
            let mut calls: Vec<_> = (0..2).map(|_| it.limits.check("key")).collect();
            assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
            for call in calls {
                let told = it.runtime.run(call).unwrap().unwrap();
                assert_eq!((told.is_allowed(), told.origin()), (true, Origin::Fallback));
            }
            assert!(it.hit(Hit::new(1)).is_allowed());
            assert_eq!(it.used(), used, "each of six is charged once");
        }
    }
}

#[test]
fn a_refund_while_the_charge_is_on_its_way_is_of_that_admission_alone() {
    let it = setup(|it| it);
    let receipts = it.admit(1);
    let _ = it.hit(Hit::new(1));
    assert_eq!(it.used(), 2, "that one is merged");
    let again = it.admit(1);
    it.primary.next(&[Course { takes: [MILLI; 2], ..before(ErrorKind::Unavailable) }]);
    let mut call = it.limits.check("key");
    assert!(poll(&mut call).is_pending());
    assert_eq!(it.refund(again[0]).origin(), Origin::Fallback);
    assert_eq!(it.runtime.run(call).unwrap().unwrap().origin(), Origin::Fallback);
    let _ = it.hit(Hit::new(1));
    assert_eq!(it.used(), 4, "neither what was merged before nor what was refunded is charged again");
    let _ = it.refund(receipts[0]);
    assert_eq!(it.used(), 4);
}

#[test]
fn a_reset_waits_for_the_charge_that_is_on_its_way() {
    let it = setup(|it| it);
    let _ = it.admit(3);
    it.primary.next(&[slow(SECOND)]);
    let mut call = it.limits.check("key");
    assert!(poll(&mut call).is_pending());
    assert!(it.runtime.run(it.limits.reset("key")).unwrap().is_ok());
    drop(call);
    it.runtime.advance(3 * SECOND);
    assert_eq!(it.used(), 0);
}

#[test]
fn a_primary_that_panics_while_it_is_charged_holds_up_nobody() {
    let runtime = Manual::new();
    let storage = Failover::builder(Panics, Store::new(&runtime)).merge().clock(runtime.clone()).build();
    let limits = AsyncLimiter::new(limit(), storage);
    assert!(runtime.run(limits.check("key")).unwrap().unwrap().is_allowed());
    for call in [limits.check("key"), limits.check("key")] {
        assert_eq!(runtime.run(call).unwrap().unwrap().origin(), Origin::Fallback, "as on any failure");
    }
}

/// Cannot be reached, and panics where it is charged.
struct Panics;

impl AsyncStorage<TokenBucket> for Panics {
    fn apply(&self, _: &TokenBucket, _: &dyn traffik::ErasedKey, op: &Op<TokenBucket>) -> Reply<Decision> {
        assert!(!matches!(op, Op::Charge(_)), "it is to panic");
        Reply::ready(Err(traffik::storage::BackendError::new(ErrorKind::Unavailable, "down")))
    }

    fn load(
        &self,
        _: &TokenBucket,
        _: &dyn traffik::ErasedKey,
    ) -> Reply<(traffik::strategy::Level, Timestamp)> {
        unreachable!("nobody looks")
    }
}

/// To book two costs is to book their sum.
fn adds_up<S: Strategy<Cost = u32>>(strategy: &S) {
    for at in [0, 1_500_000, 90_000_000] {
        let (first, then) =
            (Timestamp::EPOCH + SECOND, Timestamp::EPOCH + SECOND + Duration::from_micros(at));
        let mut state = S::State::default();
        let _ = strategy.decide(&mut state, &Hit::new(2), first);
        let mut other = state.clone();
        for cost in [3, 1, 4] {
            strategy.charge(&mut state, &Hit::new(cost), then);
        }
        strategy.charge(&mut other, &Hit::new(8), then);
        assert_eq!(state, other);
    }
}

#[test]
fn charges_add_up() {
    let rate = rate!("5/min");
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            adds_up(&make(rate).unwrap());
        };
    }
    traffik::every_strategy!(each);
    adds_up(&HeapLog::new(rate).unwrap());
    adds_up(&Regions::<4>::new(rate, &[(Label(1), Ratio::ONE)]).unwrap());
}

//! Operations arrive, and are polled, dropped and answered in every order, over a store that proceeds step
//! by step.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use traffik_core::storage::BackendError;
use traffik_core::{
    Class, Decision, ErrorKind, FixedWindow, Hit, Op, Rate, Receipt, Strategy, Timestamp, TokenBucket,
};

use super::*;

mod any_order;
mod deadlines;

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const KEY: &[u8] = b"key";

/// A store whose calls wait for permission to proceed.
#[derive(Default)]
struct Store {
    kept: Mutex<HashMap<Vec<u8>, (u64, Vec<u8>)>>,
    /// The number of calls that may proceed, and the wakers that wait for that.
    gate: Mutex<(u64, Vec<Waker>)>,
    loads: AtomicU64,
    swaps: AtomicU64,
    /// The number of swaps to refuse, and the error of the next call, if it is to fail.
    refused: AtomicU64,
    error: Mutex<Option<ErrorKind>>,
    panics: AtomicBool,
    corrupt: AtomicU64,
}

impl Store {
    fn let_on(&self, calls: u64) {
        let waiting = {
            let mut gate = self.gate.lock().unwrap();
            gate.0 += calls;
            std::mem::take(&mut gate.1)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    async fn pass(&self) -> Result<(), BackendError> {
        poll_fn(|context| {
            assert!(!self.panics.load(Ordering::Relaxed), "the test set the store to panic");
            let mut gate = self.gate.lock().unwrap();
            if gate.0 > 0 {
                gate.0 -= 1;
                return Poll::Ready(());
            }
            if !gate.1.iter().any(|known| known.will_wake(context.waker())) {
                gate.1.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
        match self.error.lock().unwrap().take() {
            Some(kind) => Err(BackendError::new(kind, "as the test asks")),
            None => Ok(()),
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.loads.load(Ordering::Relaxed), self.swaps.load(Ordering::Relaxed))
    }

    fn loaded(&self, key: &[u8]) -> Versioned<u64> {
        let (version, bytes) = self.kept.lock().unwrap().get(key).cloned().unwrap_or_default();
        Versioned { bytes: (!bytes.is_empty()).then_some(bytes), version, now: NOW, kept: None }
    }

    fn used(&self, strategy: &TokenBucket) -> u32 {
        let kept = self.kept.lock().unwrap();
        let state = state::<TokenBucket>(kept.get(KEY).map(|(_, bytes)| &bytes[..]));
        let decision = strategy.peek(&state, &Hit::new(0), NOW);
        decision.limit() - decision.remaining()
    }
}

impl CompareAndSwap for Store {
    type Version = u64;

    async fn load(&self, key: &[u8]) -> Result<Versioned<u64>, BackendError> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.pass().await?;
        Ok(self.loaded(key))
    }

    async fn swap(
        &self,
        key: &[u8],
        version: u64,
        change: Write,
    ) -> Result<Option<Versioned<u64>>, BackendError> {
        self.swaps.fetch_add(1, Ordering::Relaxed);
        self.pass().await?;
        let refuse = |left: u64| left.checked_sub(1);
        let refused = self.refused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuse).is_ok();
        if refused || self.loaded(key).version != version {
            return Ok(Some(self.loaded(key)));
        }
        let bytes = match change {
            Write::Remove => Vec::new(),
            Write::Store(bytes, _) => bytes,
        };
        self.kept.lock().unwrap().insert(key.to_vec(), (version + 1, bytes));
        Ok(None)
    }

    fn found_corrupt(&self) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task of an executor, which polls its future only when it was woken.
struct Running<F: Future> {
    future: Option<Pin<Box<F>>>,
    woken: Arc<TestWaker>,
    output: Option<F::Output>,
}

struct TestWaker(AtomicBool);

impl Wake for TestWaker {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<F: Future> Running<F> {
    fn new(future: F) -> Self {
        let woken = Arc::new(TestWaker(AtomicBool::new(true)));
        Self { future: Some(Box::pin(future)), woken, output: None }
    }

    /// Polls if woken, and returns whether it was.
    fn step(&mut self) -> bool {
        let Some(future) = &mut self.future else { return false };
        if !self.woken.0.swap(false, Ordering::Relaxed) {
            return false;
        }
        if let Poll::Ready(output) =
            future.as_mut().poll(&mut Context::from_waker(&Waker::from(self.woken.clone())))
        {
            (self.output, self.future) = (Some(output), None);
        }
        true
    }

    fn drop_it(&mut self) {
        self.future = None;
    }
}

/// Polls the woken tasks until none is woken.
fn run<F: Future>(tasks: &mut [Running<F>]) {
    while tasks.iter_mut().filter_map(|task| task.step().then_some(())).count() > 0 {}
}

fn bucket(burst: u32) -> TokenBucket {
    TokenBucket::new(Rate::per_day(1)).burst(burst).unwrap()
}

type PendingCheck = Running<PendingOp<Store, TokenBucket>>;

struct Rig {
    store: Arc<Store>,
    coalescing: Coalescing<Store>,
    strategy: TokenBucket,
}

fn rig(burst: u32) -> Rig {
    let store = Arc::new(Store::default());
    Rig { coalescing: Coalescing::new(store.clone()), store, strategy: bucket(burst) }
}

impl Rig {
    fn check(&self, cost: u32) -> PendingCheck {
        Running::new(self.coalescing.apply(self.strategy, KEY.to_vec(), Op::Check(Hit::new(cost))))
    }

    fn checks(&self, costs: impl IntoIterator<Item = u32>) -> Vec<PendingCheck> {
        costs.into_iter().map(|cost| self.check(cost)).collect()
    }
}

fn remaining(task: &PendingCheck) -> Option<u32> {
    task.output.as_ref().map(|answer| answer.as_ref().unwrap().remaining())
}

fn kind(task: &PendingCheck) -> Option<ErrorKind> {
    task.output.as_ref().and_then(|answer| answer.as_ref().err().map(BackendError::kind))
}

fn allowed(task: &PendingCheck) -> bool {
    task.output.as_ref().is_some_and(|answer| answer.as_ref().is_ok_and(Decision::is_allowed))
}

#[test]
fn what_comes_at_the_same_time_takes_one_load_and_one_swap_and_keeps_its_order() {
    let rig = rig(10);
    // One by one, each with its own cost: the fourth does not fit any more, the fifth does.
    let mut tasks = rig.checks([1, 2, 5, 3, 2]);
    run(&mut tasks);
    assert_eq!(rig.store.counts(), (1, 0));
    rig.store.let_on(2);
    run(&mut tasks);
    assert_eq!(tasks.iter().map(remaining).collect::<Vec<_>>(), [9, 7, 2, 2, 0].map(Some));
    assert_eq!(tasks.iter().map(allowed).collect::<Vec<_>>(), [true, true, true, false, true]);
    assert_eq!((rig.store.counts(), rig.coalescing.keys_under_way()), ((1, 1), 0));
}

#[test]
fn a_denial_stores_nothing_and_rests_on_nothing_older_than_itself() {
    let rig = rig(1);
    let mut tasks = rig.checks([1]);
    rig.store.let_on(2);
    run(&mut tasks);
    assert!(allowed(&tasks[0]));
    let mut tasks = rig.checks([1, 1]);
    run(&mut tasks);
    // Comes when what the others are denied by has been asked for.
    tasks.push(rig.check(1));
    run(&mut tasks);
    rig.store.let_on(1);
    run(&mut tasks);
    assert_eq!((rig.store.counts(), remaining(&tasks[2])), ((3, 1), None));
    rig.store.let_on(1);
    run(&mut tasks);
    assert!(tasks.iter().all(|task| remaining(task) == Some(0) && !allowed(task)));
    assert_eq!((rig.store.counts(), rig.coalescing.keys_under_way()), ((3, 1), 0));
}

#[test]
fn different_keys_do_not_wait_for_each_other() {
    let rig = rig(5);
    let apply =
        |key: &[u8]| Running::new(rig.coalescing.apply(rig.strategy, key.to_vec(), Op::Check(Hit::new(1))));
    let mut tasks = [apply(b"a"), apply(b"b")];
    run(&mut tasks);
    assert_eq!((rig.store.counts(), rig.coalescing.keys_under_way()), ((2, 0), 2));
    rig.store.let_on(4);
    run(&mut tasks);
    assert_eq!(tasks.each_ref().map(remaining), [Some(4); 2]);
}

/// The first waiter is dropped while the load is under way: its operation is left out, the others continue.
#[test]
fn the_first_is_dropped_before_anything_is_sent() {
    let rig = rig(10);
    let mut tasks = rig.checks([1, 2, 3]);
    run(&mut tasks);
    tasks[0].drop_it();
    rig.store.let_on(2);
    run(&mut tasks);
    assert_eq!(tasks.iter().map(remaining).collect::<Vec<_>>(), [None, Some(8), Some(5)]);
    assert_eq!((rig.store.counts(), rig.store.used(&rig.strategy)), ((1, 1), 5));
}

#[test]
fn the_first_is_dropped_after_it_was_sent_and_counts() {
    let rig = rig(10);
    let mut tasks = rig.checks([1, 2, 3]);
    rig.store.let_on(1);
    run(&mut tasks);
    assert_eq!(rig.store.counts(), (1, 1));
    tasks[0].drop_it();
    rig.store.let_on(1);
    run(&mut tasks);
    assert_eq!(tasks.iter().map(remaining).collect::<Vec<_>>(), [None, Some(7), Some(4)]);
    assert_eq!(rig.store.used(&rig.strategy), 6);
}

/// A refused swap charges nobody, so an operation that was dropped meanwhile is left out of the next
/// attempt.
#[test]
fn who_is_dropped_before_a_swap_is_refused_is_left_out_of_the_next() {
    let rig = rig(10);
    rig.store.refused.store(1, Ordering::Relaxed);
    let mut tasks = rig.checks([1, 2, 3]);
    rig.store.let_on(1);
    run(&mut tasks);
    tasks[1].drop_it();
    rig.store.let_on(2);
    run(&mut tasks);
    assert_eq!(tasks.iter().map(remaining).collect::<Vec<_>>(), [Some(9), None, Some(6)]);
    assert_eq!((rig.store.counts(), rig.store.used(&rig.strategy)), ((1, 2), 4));
}

#[test]
fn all_are_dropped_and_nothing_is_left_behind() {
    let rig = rig(10);
    for calls in 0..2 {
        let mut tasks = rig.checks([1, 2]);
        rig.store.let_on(calls);
        run(&mut tasks);
        assert_eq!(rig.coalescing.keys_under_way(), 1);
        tasks.iter_mut().for_each(Running::drop_it);
        assert_eq!(rig.coalescing.keys_under_way(), 0);
        assert_eq!(Arc::strong_count(&rig.store), 2, "what was under way held the store");
    }
    // None of them has been stored: the store was not let on.
    let mut task = rig.checks([4]);
    rig.store.let_on(2);
    run(&mut task);
    assert_eq!(remaining(&task[0]), Some(6));
}

/// Others run an operation that was never polled, and it can be dropped like any.
#[test]
fn one_that_is_never_polled_holds_nobody_up() {
    let rig = rig(10);
    let idle = rig.check(1);
    let mut tasks = rig.checks([2]);
    rig.store.let_on(2);
    run(&mut tasks);
    assert_eq!(remaining(&tasks[0]), Some(7));
    drop(idle);
    assert_eq!(rig.coalescing.keys_under_way(), 0);
}

/// The first waiter is kept but no longer polled: the next one drives on.
#[test]
fn one_that_is_polled_no_more_holds_nobody_up() {
    let rig = rig(10);
    let mut first = rig.checks([1]);
    run(&mut first);
    let mut tasks = rig.checks([2, 3]);
    run(&mut tasks);
    rig.store.let_on(2);
    run(&mut tasks);
    rig.store.let_on(2);
    run(&mut tasks);
    assert_eq!(tasks.iter().map(remaining).collect::<Vec<_>>(), [Some(7), Some(4)]);
    // Its answer has been there since.
    run(&mut first);
    assert_eq!(remaining(&first[0]), Some(9));
}

#[test]
fn a_failure_reaches_all_that_were_carried_and_no_one_else() {
    for (calls, kind_of_it) in [(1, ErrorKind::Unavailable), (2, ErrorKind::Timeout)] {
        let rig = rig(10);
        let mut tasks = rig.checks([1, 2]);
        rig.store.let_on(calls - 1);
        run(&mut tasks);
        tasks.push(rig.check(3));
        run(&mut tasks);
        *rig.store.error.lock().unwrap() = Some(kind_of_it);
        rig.store.let_on(1);
        run(&mut tasks);
        assert_eq!(tasks.iter().map(kind).collect::<Vec<_>>(), [Some(kind_of_it), Some(kind_of_it), None]);
        rig.store.let_on(2);
        run(&mut tasks);
        assert_eq!(remaining(&tasks[2]), Some(7));
    }
}

#[test]
fn others_that_are_always_faster_are_told_at_last_and_nothing_is_charged() {
    let rig = rig(10);
    rig.store.refused.store(u64::MAX, Ordering::Relaxed);
    rig.store.let_on(1_000);
    let mut tasks = rig.checks([1, 1]);
    run(&mut tasks);
    assert_eq!(tasks.iter().map(kind).collect::<Vec<_>>(), [Some(ErrorKind::Contended); 2]);
    assert_eq!((rig.store.counts().1, rig.store.used(&rig.strategy)), (drive::ATTEMPTS.into(), 0));
    assert_eq!(rig.coalescing.keys_under_way(), 0);
    rig.store.refused.store(7, Ordering::Relaxed);
    let mut task = rig.checks([1]);
    run(&mut task);
    assert_eq!(remaining(&task[0]), Some(9));
}

#[test]
fn what_is_given_up_tells_how_far_it_had_got() {
    let rig = rig(10);
    let apply = || rig.coalescing.apply(rig.strategy, KEY.to_vec(), Op::Check(Hit::new(1)));
    let poll = |pending: &mut PendingOp<Store, TokenBucket>| {
        let _ = Pin::new(pending).poll(&mut Context::from_waker(Waker::noop()));
    };
    assert!(matches!(apply().give_up(), Abandoned::Unsent));
    let mut loading = apply();
    poll(&mut loading);
    assert!(matches!(loading.give_up(), Abandoned::Unsent));
    let mut swapping = apply();
    rig.store.let_on(1);
    poll(&mut swapping);
    assert!(matches!(swapping.give_up(), Abandoned::Sent));
    let (mut one, mut other) = (apply(), apply());
    rig.store.let_on(2);
    poll(&mut one);
    assert!(matches!(other.give_up(), Abandoned::Answered(Ok(decision)) if decision.remaining() == 8));
    other = apply();
    drop((one, other));
    assert_eq!(rig.coalescing.keys_under_way(), 0);
}

/// Two strategies of different kinds on one key, one after the other: each takes the other's state for
/// none.
#[test]
fn different_strategies_on_one_key_are_run_one_after_another() {
    enum Either {
        Bucket(PendingOp<Store, TokenBucket>),
        Window(PendingOp<Store, FixedWindow>),
    }
    impl Future for Either {
        type Output = u32;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u32> {
            match &mut *self {
                Self::Bucket(it) => Pin::new(it).poll(context),
                Self::Window(it) => Pin::new(it).poll(context),
            }
            .map(|answer| answer.unwrap().remaining())
        }
    }
    let (rig, window) = (rig(10), FixedWindow::new(Rate::per_day(5)));
    let hit = Hit::new(1);
    let bucket =
        || Running::new(Either::Bucket(rig.coalescing.apply(rig.strategy, KEY.to_vec(), Op::Check(hit))));
    let window = || Running::new(Either::Window(rig.coalescing.apply(window, KEY.to_vec(), Op::Check(hit))));
    let mut tasks = [bucket(), bucket(), window(), window(), bucket(), window()];
    rig.store.let_on(2);
    run(&mut tasks);
    assert_eq!(tasks.map(|task| task.output), [9, 8, 4, 3, 9, 4].map(Some));
    assert_eq!(rig.store.counts(), (1, 1));
}

/// Panics at a cost of 7.
#[derive(Clone)]
struct Fragile(TokenBucket);

impl Strategy for Fragile {
    type State = <TokenBucket as Strategy>::State;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = ();

    fn decide(&self, state: &mut Self::State, hit: &Hit, now: Timestamp) -> Decision {
        assert_ne!(hit.cost, 7, "as the test asks");
        self.0.decide(state, hit, now)
    }

    fn charge(&self, state: &mut Self::State, hit: &Hit, now: Timestamp) {
        self.0.charge(state, hit, now);
    }

    fn refund(&self, state: &mut Self::State, hit: &Hit, receipt: Receipt, now: Timestamp) {
        self.0.refund(state, hit, receipt, now);
    }

    fn expires_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.0.expires_at(state, class)
    }

    fn max_ttl(&self) -> u64 {
        self.0.max_ttl()
    }

    fn stat(&self, _: &Self::State, _: Class, _: Timestamp) {}
}

#[test]
fn a_strategy_that_panics_does_so_where_it_is_waited_for() {
    let rig = rig(10);
    let apply = |cost| {
        Running::new(rig.coalescing.apply(Fragile(rig.strategy), KEY.to_vec(), Op::Check(Hit::new(cost))))
    };
    let mut tasks = [apply(1), apply(7), apply(2)];
    rig.store.let_on(2);
    // The one that panics is not polled yet.
    while tasks[0].step() || tasks[2].step() {}
    let decision = |task: &Running<PendingOp<Store, Fragile>>| {
        task.output.as_ref().map(|answer| answer.as_ref().unwrap().remaining())
    };
    assert_eq!([decision(&tasks[0]), decision(&tasks[2])], [Some(9), Some(7)]);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tasks[1].step()));
    assert!(panicked.is_err() && rig.store.used(&rig.strategy) == 3);
    drop(tasks);
    assert_eq!(rig.coalescing.keys_under_way(), 0);
}

#[test]
fn a_store_that_panics_leaves_nobody_waiting() {
    let rig = rig(10);
    let mut tasks = rig.checks([1, 1, 1]);
    rig.store.panics.store(true, Ordering::Relaxed);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tasks[0].step()));
    assert!(panicked.is_err());
    run(&mut tasks);
    assert_eq!(tasks.iter().map(kind).collect::<Vec<_>>(), [Some(ErrorKind::Timeout); 3]);
    rig.store.panics.store(false, Ordering::Relaxed);
    drop(tasks);
    let mut task = rig.checks([1]);
    rig.store.let_on(2);
    run(&mut task);
    assert_eq!(remaining(&task[0]), Some(9));
}

#[test]
fn a_store_notices_bytes_that_are_no_state() {
    let rig = rig(10);
    rig.store.let_on(8);
    for (bytes, corrupt) in [(&b""[..], 0), (b"no state at all", 1)] {
        rig.store.kept.lock().unwrap().insert(KEY.to_vec(), (0, bytes.to_vec()));
        let mut tasks = rig.checks([1, 1]);
        run(&mut tasks);
        assert_eq!(tasks.iter().map(remaining).collect::<Vec<_>>(), [9, 8].map(Some));
        assert_eq!(rig.store.corrupt.load(Ordering::Relaxed), corrupt);
    }
}

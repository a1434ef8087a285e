//! One memory for limits of several strategies: one budget, and no state is taken for another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use traffik::storage::WhenFull;
use traffik::strategy::Scale;
use traffik::{
    Adaptive, ErrorKind, FixedWindow, Gcra, LeakyBucketQueue, Limiter, ManualClock, Memory, QuotaRollover,
    Rate, SharedMemory, SlidingWindow, Strategy, Timestamp, TokenBucket, Verdict, rate,
};

const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);

type Clock = Arc<ManualClock>;

fn shared(capacity: usize) -> (Clock, Arc<SharedMemory<50, Clock>>) {
    let clock = Arc::new(ManualClock::new(START));
    (clock.clone(), Arc::new(SharedMemory::builder().capacity(capacity).clock(clock).build_shared()))
}

#[test]
fn several_strategies_have_one_budget() {
    let clock = Arc::new(ManualClock::new(START));
    let builder = SharedMemory::builder().capacity(100).when_full(WhenFull::Refuse).clock(clock);
    let memory = Arc::new(builder.build_shared());
    let windows = Limiter::new(FixedWindow::new(rate!("1/h")), Arc::clone(&memory));
    let buckets = Limiter::new(TokenBucket::new(rate!("1/h")), Arc::clone(&memory));
    let refused = |error: ErrorKind| u64::from(error == ErrorKind::Full);
    let (mut kept, mut full) = (0, 0);
    for key in 0..1_000u32 {
        for answer in [windows.check(&("windows", key)), buckets.check(&("buckets", key))] {
            match answer {
                Ok(decision) => kept += usize::from(decision.is_allowed()),
                Err(error) => full += refused(error.kind()),
            }
        }
    }
    // 160 slots, in sets that may not all be full.
    assert!((100..=160).contains(&kept), "{kept}");
    assert_eq!((memory.len(), memory.counters().refusals), (kept, full));
    memory.clear();
    assert!(memory.is_empty());
}

/// Each limit decides as in a memory of its own, although all are asked about one key.
#[test]
fn limits_of_unlike_strategies_do_not_meet_on_a_key() {
    fn pair<S: Strategy>(
        strategy: S,
        (clock, memory): &(Clock, Arc<SharedMemory<50, Clock>>),
    ) -> Box<dyn Fn() -> bool> {
        let own = Limiter::new(strategy.clone(), Memory::builder().clock(Arc::clone(clock)).build());
        let here = Limiter::new(strategy, Arc::clone(memory));
        Box::new(move || {
            let expected = own.check("alice").unwrap().outcome();
            assert_eq!(here.check("alice").unwrap().outcome(), expected, "{}", std::any::type_name::<S>());
            expected.is_allowed()
        })
    }
    let shared = shared(1_000);
    let limits = [
        pair(TokenBucket::new(rate!("3/min")), &shared),
        pair(FixedWindow::new(rate!("5/min")), &shared),
        pair(SlidingWindow::new(rate!("4/min")), &shared),
        pair(QuotaRollover::new(rate!("6/min")), &shared),
        pair(LeakyBucketQueue::new(rate!("7/min")), &shared),
        pair(Adaptive::new(rate!("2/min")), &shared),
        // Of one length, and alike at the front.
        pair((FixedWindow::new(rate!("3/min")), TokenBucket::new(rate!("9/h"))), &shared),
        pair((FixedWindow::new(rate!("3/min")), SlidingWindow::new(rate!("9/h"))), &shared),
        pair((TokenBucket::new(rate!("3/min")), TokenBucket::new(rate!("9/h"))), &shared),
        pair((TokenBucket::new(rate!("3/min")), SlidingWindow::new(rate!("9/h"))), &shared),
    ];
    let mut admitted = 0;
    for _ in 0..40 {
        admitted += limits.iter().filter(|ask| ask()).count();
        shared.0.advance(Duration::from_millis(5_700));
    }
    assert!(admitted > 50 && admitted < 320, "{admitted}");
}

/// Limits whose states have one form share them, as on a store, unless their keys differ.
#[test]
fn limits_of_one_form_are_kept_apart_by_their_keys() {
    let (_, memory) = shared(100);
    let bucket = Limiter::new(TokenBucket::new(rate!("2/min")), Arc::clone(&memory));
    let gcra = Limiter::new(Gcra::new(rate!("2/min")).burst(2).unwrap(), Arc::clone(&memory));
    assert!(bucket.check_n("alice", 2).unwrap().is_allowed());
    assert!(!gcra.check("alice").unwrap().is_allowed());
    assert!(gcra.check(&("gcra", "alice")).unwrap().is_allowed());
}

#[test]
fn threads_admit_exactly_each_limit() {
    const KEYS: u64 = 16;
    let (_, memory) = shared(1_000);
    let bucket = Limiter::new(TokenBucket::new(Rate::per_day(300)), Arc::clone(&memory));
    let window = Limiter::new(FixedWindow::new(Rate::per_day(500)), Arc::clone(&memory));
    let (of_bucket, of_window) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (bucket, window, of_bucket, of_window) = (&bucket, &window, &of_bucket, &of_window);
            scope.spawn(move || {
                for hit in 0..100 * KEYS {
                    let key = (hit * (2 * thread + 1) + thread) % KEYS;
                    let both = [bucket.check(&key), window.check(&key)].map(|it| it.unwrap().is_allowed());
                    of_bucket.fetch_add(both[0].into(), Ordering::Relaxed);
                    of_window.fetch_add(both[1].into(), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((of_bucket.into_inner(), of_window.into_inner()), (300 * KEYS, 500 * KEYS));
}

#[test]
fn a_snapshot_carries_the_states_of_all_limits() {
    fn used<S: Scale<Cost = u32>>(strategy: &S, memory: &SharedMemory<50, Clock>) -> bool {
        Limiter::new(strategy.clone(), memory).check_n("alice", 2).unwrap().is_allowed()
    }
    let (clock, memory) = shared(1_000);
    let (bucket, window) = (TokenBucket::new(rate!("3/min")), FixedWindow::new(rate!("3/min")));
    assert!(used(&bucket, &memory) && used(&window, &memory));
    let builder = SharedMemory::builder().clock(clock);
    let restored = builder.restore_shared(&memory.snapshot()).unwrap();
    assert_eq!(restored.len(), 2);
    assert!(!used(&bucket, &restored) && !used(&window, &restored));
}

/// All or none, in one step, and by name who was denied.
#[test]
fn several_keys_are_charged_together_and_the_denied_are_named() {
    let clock = Arc::new(ManualClock::new(START));
    let memory = Arc::new(SharedMemory::builder().track_denied_keys(8).clock(clock).build_shared());
    let limiter = Limiter::new((TokenBucket::new(rate!("2/h")), FixedWindow::new(rate!("3/d"))), &memory);
    let both = limiter.check_together(["alice", "bob"], (1, 1)).unwrap();
    assert!(both.is_allowed() && both.is_atomic());
    assert!(limiter.check_n("alice", (1, 1)).unwrap().outcome().is_allowed());
    assert!(!limiter.check_together(["alice", "bob"], (1, 1)).unwrap().is_allowed());
    assert!(limiter.check_n("bob", (1, 1)).unwrap().outcome().is_allowed());
    limiter.check_many(&["bob"], |_, answer| assert!(!answer.unwrap().outcome().is_allowed()));
    let denied: Vec<_> = memory.denied(9).into_iter().map(|it| (it.name, it.denials)).collect();
    assert_eq!(denied, [("alice".to_owned(), 1), ("bob".to_owned(), 1)]);
}

//! `StorageExt`: each line adds a layer that does its work, alone and all at once, and the remarks of the
//! docs of `layer` on other orders are true. Over a store that fails on demand.

use std::sync::Arc;

use traffik::layer::{Breaker, BreakerState, CallCounters, CallResult, Operation, StorageExt};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, BackendError};
use traffik::{AsyncLimiter, Decision, ErrorKind, Origin, TokenBucket, rate};

use traffik_test_support::faulty::{Course, Faulty, MILLI, SECOND, after, before, slow};

type Store = Faulty<TokenBucket>;

const DOWN: Course = before(ErrorKind::Unavailable);
/// Failures that open a breaker of which nothing is said.
const OPENS: u32 = 5;

fn limit() -> TokenBucket {
    TokenBucket::new(rate!("8/80s"))
}

/// A runtime, a store that may fail, and another one.
fn stores() -> (Manual, Store, Store) {
    let runtime = Manual::new();
    let (faulty, other) = (Faulty::new(&runtime), Faulty::new(&runtime));
    (runtime, faulty, other)
}

fn check(
    runtime: &Manual,
    storage: &(impl AsyncStorage<TokenBucket> + Clone),
) -> Result<Decision, BackendError> {
    check_n(runtime, storage, 1)
}

fn check_n(
    runtime: &Manual,
    storage: &(impl AsyncStorage<TokenBucket> + Clone),
    cost: u32,
) -> Result<Decision, BackendError> {
    runtime.run(AsyncLimiter::new(limit(), storage.clone()).check_n("key", cost)).unwrap()
}

#[test]
fn each_line_does_its_work() {
    let (runtime, faulty, other) = stores();
    let storage = faulty.clone().with_timeout(runtime.clone(), SECOND);
    faulty.next(&[slow(SECOND)]);
    assert_eq!(check(&runtime, &storage).unwrap_err().kind(), ErrorKind::Timeout);

    let storage = faulty.clone().with_retry(runtime.clone());
    faulty.next(&[DOWN, DOWN]);
    let before = faulty.calls();
    assert!(check(&runtime, &storage).unwrap().is_allowed());
    assert_eq!(faulty.calls(), before + 3);

    let breaker = Breaker::new("store");
    let storage = faulty.clone().with_breaker(&breaker);
    faulty.always(DOWN);
    for _ in 0..OPENS {
        assert!(check(&runtime, &storage).is_err());
    }
    let before = faulty.calls();
    assert!(check(&runtime, &storage).is_err());
    assert_eq!((faulty.calls(), matches!(breaker.state(), BreakerState::Open { .. })), (before, true));

    let storage = faulty.clone().with_fallback(other.clone());
    assert_eq!(check(&runtime, &storage).unwrap().origin(), Origin::Fallback);
    assert_eq!(other.admitted(), 1);

    let storage = other.clone().with_deny_cache();
    let denied = check_n(&runtime, &storage, 8).unwrap();
    let before = other.calls();
    let again = check_n(&runtime, &storage, 8).unwrap();
    assert!(!denied.is_allowed() && !again.is_allowed());
    assert_eq!((other.calls(), again.origin()), (before, Origin::DenyCache));

    let calls = CallCounters::default();
    let storage = other.clone().with_observer(calls.clone());
    assert!(check(&runtime, &storage).unwrap().is_allowed());
    assert_eq!(calls.count(Operation::Check, CallResult::Allowed), 1);
}

/// The failover of the Python library: asked again, then left alone, and another store decides all the while.
#[test]
fn all_at_once_in_their_order() {
    let (runtime, faulty, other) = stores();
    let (breaker, calls) = (Breaker::new("store"), CallCounters::default());
    let storage = faulty
        .clone()
        .with_timeout(runtime.clone(), SECOND)
        .with_retry(runtime.clone())
        .with_breaker(&breaker)
        .with_fallback(other.clone())
        .with_deny_cache()
        .with_observer(calls.clone());
    faulty.next(&[DOWN]);
    assert_eq!(check(&runtime, &storage).unwrap().origin(), Origin::Store, "asked again, it is well");
    faulty.always(DOWN);
    for admitted in 1..=OPENS {
        assert_eq!(check(&runtime, &storage).unwrap().origin(), Origin::Fallback);
        assert_eq!(other.admitted(), admitted);
    }
    assert_eq!(faulty.calls(), 2 + 3 * OPENS, "each call was three attempts");
    // The breaker is open: neither the store is asked, nor anything waited for.
    let now = runtime.now();
    assert!((0..3).all(|_| check(&runtime, &storage).unwrap().origin() == Origin::Fallback));
    assert!(!check(&runtime, &storage).unwrap().is_allowed());
    let asked = other.calls();
    let denied = check(&runtime, &storage).unwrap();
    assert_eq!((denied.is_allowed(), denied.origin()), (false, Origin::DenyCache));
    assert_eq!((faulty.calls(), other.calls(), runtime.now()), (2 + 3 * OPENS, asked, now));
    assert_eq!(calls.count(Operation::Check, CallResult::Denied), 2);
}

/// A breaker within a retry counts attempts, and is asked again while it is open.
#[test]
fn a_breaker_within_a_retry() {
    let (runtime, faulty, _) = stores();
    let breaker = Breaker::new("store");
    let storage = faulty.clone().with_breaker(&breaker).with_retry(runtime.clone());
    faulty.always(DOWN);
    let now = runtime.now();
    assert!(check(&runtime, &storage).is_err());
    assert!(check(&runtime, &storage).is_err());
    assert_eq!(faulty.calls(), OPENS, "the sixth attempt met an open breaker");
    let waited = runtime.now();
    assert!(waited > now);
    assert!(check(&runtime, &storage).is_err());
    assert!(faulty.calls() == OPENS && runtime.now() > waited, "it waits and asks for nothing");
}

/// A cache of denials within a failover asks a fallback each time.
#[test]
fn a_cache_of_denials_within_a_failover() {
    let (runtime, faulty, other) = stores();
    let storage = faulty.clone().with_deny_cache().with_fallback(other.clone());
    faulty.always(DOWN);
    assert!(check_n(&runtime, &storage, 8).unwrap().is_allowed());
    for calls in 2..=4 {
        assert!(!check(&runtime, &storage).unwrap().is_allowed());
        assert_eq!(other.calls(), calls);
    }
}

/// A retry around a failover asks the store again before each attempt of the fallback.
#[test]
fn a_retry_around_a_failover() {
    let (runtime, faulty, other) = stores();
    let storage = faulty.clone().with_fallback(other.clone()).with_retry(runtime.clone());
    faulty.always(DOWN);
    other.always(DOWN);
    assert!(check(&runtime, &storage).is_err());
    assert_eq!((faulty.calls(), other.calls()), (3, 3));
}

/// A deadline around a failover cuts the fallback off, too.
#[test]
fn a_deadline_around_a_failover() {
    let (runtime, faulty, other) = stores();
    let storage = faulty.clone().with_fallback(Arc::new(other.clone())).with_timeout(runtime.clone(), SECOND);
    faulty.always(DOWN);
    other.always(slow(SECOND));
    assert_eq!(check(&runtime, &storage).unwrap_err().kind(), ErrorKind::Timeout);
}

/// Its own deadline ends a call that hangs, and the death of the store one that is on its way: of neither is
/// it known what it did.
#[test]
fn calls_on_their_way_when_the_store_dies_or_hangs_are_decided_by_the_fallback() {
    let hangs = slow(100 * SECOND);
    let dies = Course { takes: [MILLI, MILLI], ..after(ErrorKind::Timeout) };
    for (course, counted) in [(hangs, 0), (dies, 3)] {
        let (runtime, faulty, other) = stores();
        let storage = faulty
            .clone()
            .with_timeout(runtime.clone(), 50 * MILLI)
            .with_retry(runtime.clone())
            .with_breaker(&Breaker::new("store"))
            .with_fallback(other.clone());
        let limits = AsyncLimiter::new(limit(), storage);
        faulty.always(course);
        let calls: Vec<_> = (0..3).map(|_| limits.check("key")).collect();
        for call in calls {
            assert_eq!(runtime.run(call).unwrap().map(|it| it.origin()).ok(), Some(Origin::Fallback));
        }
        assert_eq!((faulty.admitted(), other.admitted()), (counted, 3), "counted on both sides");
    }
}

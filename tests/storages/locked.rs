//! `LockedStorage` over a store that fails at will: the charges, the answers, and the holder of the lock.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use traffik::lock::{LockSettings, Locks, MemoryLock};
use traffik::runtime::Tokio;
use traffik::storage::BackendError;
use traffik::{
    AsyncLimiter, Clock, Decision, ErrorKind, Gcra, LockedStorage, ManualClock, Rate, Timestamp, TokenBucket,
    rate,
};
use traffik_test_support::store::{Fault, Store};

const SECOND: Duration = Duration::from_secs(1);

/// Tokio's own virtual time.
#[derive(Clone)]
struct Virtual(Instant);

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH + self.0.elapsed()
    }
}

type Limits<S, C> = AsyncLimiter<S, LockedStorage<Store<C>, MemoryLock<Virtual>, Tokio>>;

/// A limit over a store whose lock lasts for 10 s and is waited for 3 s.
fn limits<S: traffik::Strategy, C: Clock + Send + Sync + 'static>(strategy: S, clock: C) -> Limits<S, C> {
    let settings = LockSettings::new().ttl(10 * SECOND).blocking(true).blocking_timeout(3 * SECOND);
    let lock = MemoryLock::with_clock(Virtual(Instant::now()));
    AsyncLimiter::new(strategy, LockedStorage::new(Store::new(clock), Locks::new(lock, Tokio).with(settings)))
}

fn virtual_time() -> Virtual {
    Virtual(Instant::now())
}

fn kind(answer: Result<Decision, BackendError>) -> ErrorKind {
    answer.unwrap_err().kind()
}

#[tokio::test(start_paused = true)]
async fn a_state_is_kept_until_it_is_fresh_and_no_longer() {
    let limits = limits(TokenBucket::new(rate!("3/2900ms")), virtual_time());
    let store = limits.storage().store();
    for cost in [1, 2] {
        let decision = limits.check_n("key", cost).await.unwrap();
        assert!(decision.is_allowed());
        assert_eq!(store.end(b"key"), Some(store.clock.now() + decision.reset_after()));
    }
    tokio::time::sleep(Duration::from_millis(2_900)).await;
    assert_eq!(limits.peek("key", 1).await.unwrap().remaining(), 2);
    let _ = limits.check("key").await.unwrap();
    let _ = limits.reset("key").await.unwrap();
    assert_eq!(store.end(b"key"), None, "what is fresh is not kept");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stepped_back_hurts_for_a_horizon_at_most() {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_000_000_000_000)));
    let limits = limits(TokenBucket::new(Rate::per_minute(6)), Arc::clone(&clock));
    let store = limits.storage().store();
    assert!(limits.check("key").await.unwrap().is_allowed());
    clock.set(Timestamp::EPOCH);
    assert!(limits.check("key").await.unwrap().is_allowed());
    assert_eq!(store.end(b"key"), Some(Timestamp::EPOCH + 60 * SECOND));
    // A charge beyond the limit is kept for as long as it takes to drain.
    let _ = limits.reset("other").await.unwrap();
    let _ = limits.charge("other", 60).await.unwrap();
    assert_eq!(store.end(b"other"), Some(Timestamp::EPOCH + 600 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn what_fails_before_anything_is_set_charges_nothing_and_frees_the_lock() {
    let limits = limits(Gcra::new(Rate::per_hour(1)), virtual_time());
    let store = limits.storage().store();
    for (fault, expected) in [
        (Fault::GetFails(ErrorKind::Other), ErrorKind::Other),
        (Fault::GetFails(ErrorKind::Timeout), ErrorKind::Unavailable),
        (Fault::GetHangs, ErrorKind::Unavailable),
        (Fault::SetFails(ErrorKind::Unavailable), ErrorKind::Unavailable),
    ] {
        store.fail(fault);
        let began = Instant::now();
        assert_eq!(kind(limits.check("key").await), expected, "{fault:?}");
        assert!(began.elapsed() <= 10 * SECOND);
        store.fail(Fault::None);
        assert_eq!(limits.peek("key", 1).await.unwrap().remaining(), 0);
        // The lock is free at once: nothing has to be waited for.
        let began = Instant::now();
        assert!(limits.check("key").await.unwrap().is_allowed(), "{fault:?}");
        assert_eq!(began.elapsed(), Duration::ZERO);
        let _ = limits.reset("key").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_told_and_keeps_the_lock_for_its_ttl() {
    for fault in [Fault::SetHangs, Fault::SetFails(ErrorKind::Timeout)] {
        let limits = limits(Gcra::new(Rate::per_hour(1)), virtual_time());
        let began = Instant::now();
        limits.storage().store().fail(fault);
        assert_eq!(kind(limits.check("key").await), ErrorKind::Timeout, "{fault:?}");
        limits.storage().store().fail(Fault::None);
        if began.elapsed() < 10 * SECOND {
            assert_eq!(kind(limits.check("key").await), ErrorKind::Contended, "nobody may look yet");
            tokio::time::sleep(10 * SECOND).await;
        }
        let charged = fault == Fault::SetHangs;
        assert_eq!(limits.check("key").await.unwrap().is_allowed(), !charged, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_dropped_during_a_set_keeps_the_lock_for_its_ttl() {
    let limits = limits(Gcra::new(Rate::per_hour(1)), virtual_time());
    limits.storage().store().fail(Fault::SetHangs);
    let dropped = tokio::time::timeout(SECOND, limits.check("key")).await;
    assert!(dropped.is_err());
    limits.storage().store().fail(Fault::None);
    assert_eq!(kind(limits.check("key").await), ErrorKind::Contended);
    assert!(limits.check("another").await.unwrap().is_allowed(), "other keys have other locks");
    tokio::time::sleep(10 * SECOND).await;
    assert!(!limits.check("key").await.unwrap().is_allowed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_dropped_before_that_frees_the_lock() {
    let limits = limits(Gcra::new(Rate::per_hour(1)), virtual_time());
    limits.storage().store().fail(Fault::GetHangs);
    assert!(tokio::time::timeout(SECOND, limits.check("key")).await.is_err());
    limits.storage().store().fail(Fault::None);
    assert!(limits.check("key").await.unwrap().is_allowed());
}

#[tokio::test(start_paused = true)]
async fn a_peek_and_a_load_need_no_lock() {
    let limits = limits(Gcra::new(Rate::per_hour(1)), virtual_time());
    limits.storage().store().fail(Fault::SetHangs);
    assert!(tokio::time::timeout(SECOND, limits.check("key")).await.is_err());
    let began = Instant::now();
    assert!(!limits.peek("key", 1).await.unwrap().is_allowed());
    assert!(!limits.stat("key").await.unwrap().conformant);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_ended_meanwhile_makes_the_outcome_unknown() {
    let clock = Arc::new(ManualClock::default());
    let locks = Locks::new(MemoryLock::with_clock(Arc::clone(&clock)), Tokio);
    let storage =
        LockedStorage::new(Store::new(virtual_time()), locks.with(LockSettings::new().ttl(10 * SECOND)));
    let limits = AsyncLimiter::new(Gcra::new(Rate::per_hour(1)), storage);
    // The lock's own clock leaps while the store is asked.
    let leap = async || clock.advance(10 * SECOND);
    let (checked, ()) = tokio::join!(limits.check("key"), leap());
    assert_eq!(kind(checked), ErrorKind::Timeout);
    let (denied, ()) = tokio::join!(limits.check("key"), leap());
    assert!(!denied.unwrap().is_allowed(), "a denial was decided, whatever became of the lock");
}

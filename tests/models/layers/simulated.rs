//! The wrappers of storages through random histories, in virtual time, over a store that fails before and
//! after it took effect, takes its time, cannot be reached or heard for a while, and restarts: nothing is
//! admitted beyond the bound, no charge is lost or doubled but as is documented, and every call ends by its
//! deadline.

mod history;
mod nodes;
mod probed;
mod trouble;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use history::{History, Promise, Store, Sums};
use probed::Probed;
use traffik::TokenBucket;
use traffik::layer::{
    Breaker, BreakerState, CallCounters, CircuitBreaker, DenyCache, Failover, FailoverBuilder, Instrumented,
    Retry, Timeout,
};
use traffik::runtime::Manual;
use traffik::storage::AsyncStorage;

/// Of each wrapper.
const HISTORIES: u64 = 100_000;
/// For one call of the store.
const ATTEMPT: Duration = Duration::from_millis(50);

/// Runs histories of a wrapper, each over stores of its own.
fn histories<T: AsyncStorage<TokenBucket>>(
    promise: Promise,
    wrap: impl Fn(&Manual, Store, Store, u64, &mut Option<Breaker>) -> T,
) -> Sums {
    let mut sums = Sums::default();
    for seed in 0..HISTORIES {
        let wrap = |runtime: &Manual, store, fallback, breaker: &mut _| {
            wrap(runtime, store, fallback, seed, breaker)
        };
        History::new(seed, promise, wrap).live(&mut sums);
    }
    assert!(sums.refunded > HISTORIES / 20, "of {} refunds it was seen what they did", sums.refunded);
    sums
}

const ONCE: Promise =
    Promise { deadline: ATTEMPT, attempts: 1, charges: 1, mirrors: false, merges: false, shares: 1 };

fn timeout(runtime: &Manual, faulty: Store) -> Timeout<Store, Manual> {
    Timeout::new(faulty, runtime.clone(), ATTEMPT)
}

fn retry(runtime: &Manual, faulty: Store, seed: u64) -> Retry<Timeout<Store, Manual>, Manual> {
    let builder = Retry::builder(timeout(runtime, faulty), runtime.clone());
    builder.clock(runtime.clone()).seed(seed).deadline(3 * ATTEMPT).build().unwrap()
}

#[test]
fn a_timeout() {
    let _ = histories(ONCE, |runtime, faulty, _, _, _| timeout(runtime, faulty));
}

#[test]
fn a_retry_of_what_charged_nothing() {
    let promise = Promise { deadline: 3 * ATTEMPT, attempts: 3, ..ONCE };
    let _ = histories(promise, |runtime, faulty, _, seed, _| retry(runtime, faulty, seed));
}

#[test]
fn a_retry_of_anything() {
    let promise = Promise { deadline: 2 * ATTEMPT, attempts: 4, charges: 4, ..ONCE };
    let _ = histories(promise, |runtime, faulty, _, seed, _| {
        let builder = Retry::builder(timeout(runtime, faulty), runtime.clone());
        let builder = builder.clock(runtime.clone()).seed(seed).deadline(promise.deadline);
        builder.attempts(4).after_timeouts().build().unwrap()
    });
}

#[test]
fn a_deny_cache() {
    let sums = histories(ONCE, |runtime, faulty, _, seed, _| {
        DenyCache::builder(timeout(runtime, faulty)).keys(8).clock(runtime.clone()).seed(seed).build()
    });
    assert!(sums.compared > HISTORIES / 10, "it answered {} times", sums.compared);
}

fn breaker(runtime: &Manual, seed: u64) -> Breaker {
    let last = Mutex::new(BreakerState::Closed);
    let lawful = move |from, to| {
        use BreakerState::{Closed, HalfOpen, Open};
        assert_eq!(std::mem::replace(&mut *last.lock().unwrap(), to), from);
        let legal =
            matches!((from, to), (Closed | HalfOpen, Open(_)) | (Open(_), HalfOpen) | (HalfOpen, Closed));
        assert!(legal, "{from} {to}");
    };
    let builder = Breaker::builder("store").clock(runtime.clone()).seed(seed).failures(2);
    builder.on_change(move |change| lawful(change.from, change.to)).build().unwrap()
}

#[test]
fn a_circuit_breaker() {
    let _ = histories(ONCE, |runtime, faulty, _, seed, shown| {
        let breaker = breaker(runtime, seed);
        *shown = Some(breaker.clone());
        CircuitBreaker::new(Probed::new(timeout(runtime, faulty), &breaker), &breaker)
    });
}

/// Around the store and its deadline alone.
fn failover(promise: Promise, with: impl Fn(Builder) -> Builder) -> Sums {
    let sums = histories(promise, |runtime, faulty, fallback, _, _| {
        with(Failover::builder(timeout(runtime, faulty), fallback).clock(runtime.clone())).build()
    });
    assert!(sums.by_store > HISTORIES && sums.by_fallback > HISTORIES / 10);
    assert_eq!((sums.mirrored > 0, sums.merged > 0), (promise.mirrors, promise.merges));
    sums
}

type Builder = FailoverBuilder<TokenBucket, Timeout<Store, Manual>, Store>;

/// A check of two keys may have to wait for two charges of each, one of which finds out whether the primary
/// is back.
const MERGING: Promise = Promise { deadline: ATTEMPT.saturating_mul(5), attempts: 5, merges: true, ..ONCE };

#[test]
fn a_failover_that_is_cold_and_drops() {
    let _ = failover(ONCE, |it| it);
}

#[test]
fn a_failover_that_is_warm() {
    let _ = failover(Promise { mirrors: true, ..ONCE }, FailoverBuilder::warm);
}

#[test]
fn a_failover_that_merges() {
    let _ = failover(MERGING, FailoverBuilder::merge);
}

#[test]
fn a_failover_that_is_warm_and_merges_and_has_a_share() {
    let promise = Promise { mirrors: true, shares: 2, ..MERGING };
    let _ = failover(promise, |it| it.instances(2).unwrap().warm().merge());
}

/// Then a hit may be charged on both sides, and no more.
#[test]
fn a_failover_that_goes_over_on_unknown_outcomes() {
    let _ = failover(Promise { charges: 2, ..ONCE }, FailoverBuilder::after_timeouts);
}

/// In the order of the docs.
#[test]
fn all_of_them() {
    for is_warm in [false, true] {
        let promise = if is_warm {
            Promise { deadline: 15 * ATTEMPT, attempts: 15, mirrors: true, ..MERGING }
        } else {
            Promise { deadline: 3 * ATTEMPT, attempts: 3, ..ONCE }
        };
        let calls = CallCounters::default();
        let sums = histories(promise, |runtime, faulty, fallback, seed, shown| {
            let breaker = breaker(runtime, seed);
            *shown = Some(breaker.clone());
            let primary = CircuitBreaker::new(retry(runtime, faulty, seed), &breaker);
            let failover = Failover::builder(primary, fallback).clock(runtime.clone());
            let failover = if is_warm { failover.warm().merge() } else { failover }.build();
            let cache = DenyCache::builder(failover).keys(8).clock(runtime.clone()).seed(seed).build();
            Arc::new(Instrumented::with_clock(cache, calls.clone(), runtime.clone()))
        });
        let told: u64 = calls.iter().map(|(_, _, count, _)| count).sum();
        assert_eq!(told, sums.asked, "each call is told once");
        assert!(sums.compared > HISTORIES / 10, "{}", sums.compared);
        assert_eq!((sums.mirrored > 0, sums.merged > 0), (is_warm, is_warm));
    }
}

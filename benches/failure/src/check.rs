//! Checks through the layers for the case of failure.

use std::hint::black_box;
use std::sync::Arc;

use traffik_backends::Memory;
use traffik_backends::layer::{Breaker, CircuitBreaker, DenyCache, Failover};
use traffik_bench_support::Counted;
use traffik_core::storage::{AsyncStorage, Local, Reply};
use traffik_core::{AsyncLimiter, Gcra, Hit, Limiter, ManualClock, Rate, Timestamp};

use crate::store::{self, Down, Far};

/// The part of [`run`] whose instructions are counted.
pub(crate) const COUNTED: Counted = Counted(concat!(module_path!(), "::counted"));

/// Known keys, each checked as often as the others. There is room for ten times as many.
const KEYS: u64 = 1_000;

/// Time stands still: what is read of it is a number in memory, so that no clock is counted.
type Clock = Arc<ManualClock>;

fn clock() -> Clock {
    let clock = Arc::new(ManualClock::default());
    clock.set(Timestamp::from_micros(1_800_000_000_000_000));
    clock
}

fn memory(clock: &Clock) -> Memory<Gcra, Clock> {
    Memory::builder().capacity(10_000).clock(Arc::clone(clock)).build()
}

/// Admits all that is counted.
fn wide() -> Gcra {
    Gcra::new(Rate::per_second(1_000_000)).burst(1_000_000).expect("such a burst can be counted")
}

/// Admits one check of a key, and denies all that are counted.
fn narrow() -> Gcra {
    Gcra::new(Rate::per_hour(1))
}

#[inline(never)]
fn counted(keys: &[u64], check: impl Fn(u64)) {
    keys.iter().for_each(|key| check(*key));
}

/// Checks each key as often as it takes to be known, and then those that are counted.
fn known(number: u64, check: impl Fn(u64)) {
    let keys: Vec<u64> = (0..number).map(|at| at % KEYS).collect();
    (0..3 * KEYS).for_each(|at| check(at % KEYS));
    counted(&keys, check);
}

/// Answers that have to be waited for are there once they are asked for.
fn awaited<M: AsyncStorage<Gcra>>(limiter: &AsyncLimiter<Gcra, M>, key: u64, is_allowed: bool) {
    let admits = match &mut limiter.check(&key) {
        Reply::Ready(Some(Ok(answer))) => answer.is_allowed(),
        Reply::Ready(_) => !is_allowed,
        Reply::Pending(answer) => {
            store::polled(answer.as_mut()).and_then(Result::ok).map(|it| it.is_allowed()) == Some(true)
        }
    };
    assert!(black_box(admits) == is_allowed);
}

/// Makes `number` checks of a kind and returns how often they called the store.
pub(crate) fn run(kind: &str, number: u64) -> u64 {
    let (clock, far) = (clock(), Far::new(&clock()));
    let open = || {
        let breaker = Breaker::builder("store").clock(Arc::clone(&clock)).build().expect("it can open");
        breaker.force_open();
        CircuitBreaker::new(Down::default(), &breaker)
    };
    let failover = || {
        Failover::builder(open(), Local(memory(&clock)))
            .clock(Arc::clone(&clock))
            .journal_capacity(100_000)
            .build()
    };
    match kind {
        "memory" => {
            let (limiter, now) = (Limiter::new(wide(), memory(&clock)), clock_now(&clock));
            known(number, |key| {
                let answer = limiter.check_at(&key, &Hit::new(1), now);
                assert!(black_box(answer.is_ok_and(|it| it.is_allowed())));
            });
            0
        }
        "local" => {
            let limiter = AsyncLimiter::new(wide(), Local(memory(&clock)));
            known(number, |key| awaited(&limiter, key, true));
            0
        }
        "local-denied" => {
            let limiter = AsyncLimiter::new(narrow(), Local(memory(&clock)));
            (0..KEYS).for_each(|key| awaited(&limiter, key, true));
            known(number, |key| awaited(&limiter, key, false));
            0
        }
        "cached" => {
            let storage = DenyCache::builder(far.clone()).keys(10_000).clock(Arc::clone(&clock)).build();
            let limiter = AsyncLimiter::new(narrow(), storage);
            (0..KEYS).for_each(|key| awaited(&limiter, key, true));
            (0..KEYS).for_each(|key| awaited(&limiter, key, false));
            let before = far.calls();
            known(number, |key| awaited(&limiter, key, false));
            far.calls() - before
        }
        "open" => {
            let limiter = AsyncLimiter::new(wide(), failover());
            known(number, |key| awaited(&limiter, key, true));
            limiter.storage().primary().storage().calls()
        }
        "open-denied" => {
            let limiter = AsyncLimiter::new(narrow(), failover());
            (0..KEYS).for_each(|key| awaited(&limiter, key, true));
            known(number, |key| awaited(&limiter, key, false));
            limiter.storage().primary().storage().calls()
        }
        _ => unreachable!("the kinds are those that `main` names"),
    }
}

fn clock_now(clock: &Clock) -> Timestamp {
    traffik_core::Clock::now(clock)
}

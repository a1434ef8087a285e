//! Checks through the layers for the case of failure, to be counted from outside: `traffik-bench-failure KIND NUMBER` makes so
//! many of a kind, in `counted`, and prints how often the store was called meanwhile. See `scripts/bench-failure`.

mod store;

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;

use store::{Down, Far};
use traffik_backends::Memory;
use traffik_backends::layer::{Breaker, CircuitBreaker, DenyCache, Failover};
use traffik_core::storage::{AsyncStorage, Local, Reply};
use traffik_core::{AsyncLimiter, Gcra, Hit, Limiter, ManualClock, Rate, Timestamp};

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
fn run(number: u64, check: impl Fn(u64)) {
    let keys: Vec<u64> = (0..number).map(|at| at % KEYS).collect();
    (0..3 * KEYS).for_each(|at| check(at % KEYS));
    counted(&keys, check);
}

/// Answers that have to be waited for are there once they are asked for.
fn awaited<M: AsyncStorage<Gcra>>(limiter: &AsyncLimiter<Gcra, M>, key: u64, is_allowed: bool) {
    let told = match &mut limiter.check(&key) {
        Reply::Ready(Some(Ok(told))) => told.is_allowed(),
        Reply::Ready(_) => !is_allowed,
        Reply::Pending(answer) => {
            store::polled(answer.as_mut()).and_then(Result::ok).map(|it| it.is_allowed()) == Some(true)
        }
    };
    assert!(black_box(told) == is_allowed);
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (kind, Some(number)) = (
        arguments.first().map_or("", String::as_str),
        arguments.get(1).and_then(|number| number.parse::<u64>().ok()),
    ) else {
        eprintln!("error: write KIND NUMBER");
        return ExitCode::from(2);
    };
    let (clock, far) = (clock(), Far::new(&clock()));
    let open = || {
        let breaker = Breaker::builder("store").clock(Arc::clone(&clock)).build().expect("it can open");
        breaker.force_open();
        CircuitBreaker::new(Down::default(), &breaker)
    };
    let failover =
        || Failover::builder(open(), Local(memory(&clock))).clock(Arc::clone(&clock)).noted(100_000).build();
    match kind {
        "memory" => {
            let (limiter, now) = (Limiter::new(wide(), memory(&clock)), clock_now(&clock));
            run(number, |key| {
                let answer = limiter.check_at(&key, &Hit::new(1), now);
                assert!(black_box(answer.is_ok_and(|it| it.is_allowed())));
            });
        }
        "local" => {
            let limiter = AsyncLimiter::new(wide(), Local(memory(&clock)));
            run(number, |key| awaited(&limiter, key, true));
        }
        "local-denied" => {
            let limiter = AsyncLimiter::new(narrow(), Local(memory(&clock)));
            (0..KEYS).for_each(|key| awaited(&limiter, key, true));
            run(number, |key| awaited(&limiter, key, false));
        }
        "cached" => {
            let storage = DenyCache::builder(far.clone()).keys(10_000).clock(Arc::clone(&clock)).build();
            let limiter = AsyncLimiter::new(narrow(), storage);
            (0..KEYS).for_each(|key| awaited(&limiter, key, true));
            (0..KEYS).for_each(|key| awaited(&limiter, key, false));
            let before = far.calls();
            run(number, |key| awaited(&limiter, key, false));
            println!("calls {}", far.calls() - before);
        }
        "open" => {
            let limiter = AsyncLimiter::new(wide(), failover());
            run(number, |key| awaited(&limiter, key, true));
            println!("calls {}", limiter.storage().primary().storage().calls());
        }
        "open-denied" => {
            let limiter = AsyncLimiter::new(narrow(), failover());
            (0..KEYS).for_each(|key| awaited(&limiter, key, true));
            run(number, |key| awaited(&limiter, key, false));
            println!("calls {}", limiter.storage().primary().storage().calls());
        }
        _ => {
            eprintln!("error: the kinds are memory, local, local-denied, cached, open, open-denied");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn clock_now(clock: &Clock) -> Timestamp {
    traffik_core::Clock::now(clock)
}

//! Limits in memory, run on each target: their decisions, and the clock and random numbers that they go by
//! there.

use std::fmt::Write;
use std::time::Duration;

use traffik::{
    Clock, CoarseClock, Decision, FixedWindow, Gcra, Limiter, ManualClock, Memory, MonotonicClock,
    SharedMemory, SlidingLog, SlidingWindow, StorageError, Strategy, SystemClock, Timestamp, TokenBucket,
    rate,
};

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod exports;

/// 2026-01-01.
const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Writes the decisions of a limit on hits of several keys, one a line.
fn run<S: Strategy<Cost = u32, Verdict = Decision>>(strategy: S, text: &mut String) -> Result<(), StorageError> {
    let clock = || ManualClock::new(START);
    let own = Limiter::new(strategy.clone(), Memory::builder().capacity(100).clock(clock()).build());
    let shared = SharedMemory::builder().room::<1_300>().capacity(100).clock(clock()).build_shared();
    let shared = Limiter::new(strategy, shared);
    for hit in 0..60u32 {
        let (key, cost) = (("client", hit * hit % 7), hit % 3);
        let decision = own.check_n(&key, cost)?;
        if decision != shared.check_n(&key, cost)? {
            text.push_str("differs in a shared memory: ");
        }
        // A `String` takes whatever is written.
        let _ =
            writeln!(text, "{:?} {} {:?}", decision.outcome(), decision.remaining(), decision.reset_after());
        own.storage().clock().advance(Duration::from_millis(333));
        shared.storage().clock().advance(Duration::from_millis(333));
    }
    Ok(())
}

/// Returns decisions on a fixed run of hits: the same text on every target.
///
/// # Errors
///
/// Fails if a storage does.
pub fn decisions() -> Result<String, Box<dyn std::error::Error>> {
    let mut text = String::new();
    run(TokenBucket::new(rate!("5/10s")), &mut text)?;
    run(Gcra::new(rate!("99991/d")).burst(3)?, &mut text)?;
    run(FixedWindow::new(rate!("3/7s")), &mut text)?;
    run(SlidingWindow::new(rate!("4/2900ms")), &mut text)?;
    run(SlidingLog::<100>::new(rate!("6/15s"))?, &mut text)?;
    Ok(text)
}

/// Returns the random part of a new memory, which no other one has.
///
/// # Errors
///
/// Fails if a clock of this target stands still or does not know the year, if two memories have one seed, or
/// if a memory on the default clock does not keep its limit.
pub fn surroundings() -> Result<String, Box<dyn std::error::Error>> {
    let (exact, coarse) = (MonotonicClock::default(), CoarseClock::default());
    let clocks: [(&str, &dyn Clock); 3] = [("system", &SystemClock), ("exact", &exact), ("coarse", &coarse)];
    for (name, clock) in clocks {
        let (first, mut reads) = (clock.now(), 0u64);
        if first < START {
            return Err(format!("the {name} clock says {first:?}").into());
        }
        while clock.now() <= first {
            reads += 1;
            if reads > 1_000_000_000 {
                return Err(format!("the {name} clock stands still").into());
            }
        }
    }
    // Large enough for a machine of 32 bits to notice.
    let limiter = Limiter::new(TokenBucket::new(rate!("3/h")), Memory::new(1_000_000));
    for key in 0..1_000u64 {
        let admitted = (0..5).map(|_| limiter.check(&key)).collect::<Result<Vec<_>, _>>()?;
        if admitted.iter().filter(|decision| decision.is_allowed()).count() != 3 {
            return Err(format!("key {key} was told {admitted:?}").into());
        }
    }
    let secret = |memory: &Memory<TokenBucket>| memory.snapshot().get(8..16).map(<[u8]>::to_vec);
    let (one, other) = (secret(&Memory::new(1)), secret(&Memory::new(1)));
    if one == other {
        return Err("two memories have one seed".into());
    }
    Ok(format!("{one:?}"))
}

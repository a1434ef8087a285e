//! Storages whose clock is set back, wraps, or begins anew at each boot: no key is locked out, none is let
//! in.

use std::sync::Arc;
use std::time::Duration;

use traffik::laws::{at_most, storage};
use traffik::{
    Fixed, FixedWindow, Gcra, HeapLog, LeakyBucketQueue, Limiter, ManualClock, Memory, Outcome, Rate,
    Storage, Strategy, Timestamp, TokenBucket, Verdict, rate,
};

/// Late enough that a clock can be set back by years.
const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[test]
fn a_day_back_locks_no_key_out() {
    fn check<S: Strategy>(limit: S) {
        let name = std::any::type_name::<S>();
        let fixed = Fixed::<S, _, 64>::new(ManualClock::new(START), 42);
        assert_eq!(storage::clock_may_be_set_back(&limit, &fixed), Ok(()), "{name}");
        let memory = Memory::builder().capacity(1_000).clock(ManualClock::new(START)).build();
        assert_eq!(storage::clock_may_be_set_back(&limit, &memory), Ok(()), "{name}");
    }
    for rate in [rate!("5/h"), rate!("7/2s"), rate!("3/290ms")] {
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                check(make(rate).unwrap());
            };
        }
        traffik::every_strategy!(each);
        check(HeapLog::new(at_most(100, rate)).unwrap());
        check((TokenBucket::new(rate), FixedWindow::new(rate!("7/h"))));
    }
}

/// Asks for one key until it passes; returns how long that took and how often it was denied.
fn until_admitted<S: Strategy>(
    limiter: &Limiter<S, impl Storage<S>>,
    clock: &ManualClock,
) -> (Duration, u32) {
    let (mut waited, mut denials) = (Duration::ZERO, 0);
    loop {
        match limiter.check("key").unwrap().outcome() {
            Outcome::Deny { retry_after } => {
                clock.advance(retry_after);
                waited += retry_after;
                denials += 1;
            }
            Outcome::Allow { .. } => return (waited, denials),
            Outcome::Never => panic!("never"),
        }
    }
}

/// A counter of 32 bits in microseconds begins again after 71.6 minutes.
#[test]
fn a_counter_that_wraps_locks_no_key_out() {
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let limiter = Limiter::new(Gcra::new(rate!("1/s")), Fixed::<Gcra, _, 32>::new(Arc::clone(&clock), 1));
    for wraps in 0..2_000 {
        let end = Timestamp::from_micros(u64::from(u32::MAX) - 300_000);
        clock.set(end);
        assert!(limiter.check("key").unwrap().is_allowed(), "wrap {wraps}");
        clock.set(Timestamp::from_micros(200_000));
        assert_eq!(until_admitted(&limiter, &clock), (Duration::from_secs(1), 1), "wrap {wraps}");
    }
}

/// A state that was kept over a reset, under a clock that counts from there.
#[test]
fn a_restored_state_of_a_year_ahead_is_admitted_after_one_wait() {
    let limit = TokenBucket::new(rate!("5/10s"));
    let before = Limiter::new(limit, Memory::builder().capacity(100).clock(ManualClock::new(START)).build());
    assert!(before.check_n("key", 5).unwrap().is_allowed());
    let booted = Arc::new(ManualClock::new(Timestamp::from_micros(3_000_000)));
    let builder = Memory::builder().capacity(100).clock(Arc::clone(&booted));
    let after = Limiter::new(limit, builder.restore(&before.storage().snapshot()).unwrap());
    assert_eq!(until_admitted(&after, &booted), (Duration::from_secs(2), 1));
    // A key that does not come again gives its place back as soon as it would have without the reset.
    booted.advance(Duration::from_secs(14));
    assert_eq!(after.storage().len(), 0);
}

/// A queue that is told turns by the future would hold its hits until the clock has caught up.
#[test]
fn a_queue_holds_nothing_for_longer_than_it_is_long() {
    let clock = Arc::new(ManualClock::new(START));
    let queue = LeakyBucketQueue::new(rate!("5/10s"));
    let memory = Memory::builder().capacity(100).clock(Arc::clone(&clock)).build();
    let limiter = Limiter::new(queue, memory);
    for _ in 0..3 {
        assert!(limiter.check("key").unwrap().is_allowed());
    }
    clock.set(Timestamp::from_micros(START.as_micros() - YEAR.as_micros() as u64));
    let turns: Vec<_> = (0..3)
        .map(|_| match limiter.check("key").unwrap().outcome() {
            Outcome::Allow { after } => after.as_secs(),
            denied => panic!("{denied:?}"),
        })
        .collect();
    assert_eq!(turns, [6, 8, 10]);
}

//! Storages whose clock is set back, wraps, or begins anew at each boot: no key is locked out, none is let
//! in.

use std::sync::Arc;
use std::time::Duration;

use traffik::laws::{self, Step, at_most, storage};
use traffik::strategy::Bounds;
use traffik::{
    All, Clock, Fixed, FixedWindow, Gcra, HeapLog, Hours, Label, LeakyBucket, LeakyBucketQueue, Limiter,
    ManualClock, Memory, Outcome, Priority, Rate, Ratio, SlidingWindow, Storage, Strategy, Tiered, TimeOfDay,
    Timestamp, TokenBucket, Verdict, rate,
};

/// Late enough that a clock can be set back by years.
const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[test]
fn a_day_back_locks_no_key_out() {
    fn check<S: Strategy>(strategy: S) {
        let name = std::any::type_name::<S>();
        let clock = Arc::new(ManualClock::new(START));
        let set = |now| clock.set(now);
        let fixed = Fixed::<S, _, 64>::new(&*clock, 42);
        assert_eq!(storage::clock_may_be_set_back(&strategy, &fixed, set), Ok(()), "{name}");
        set(START);
        let memory = Memory::builder().capacity(1_000).clock(Arc::clone(&clock)).build();
        assert_eq!(storage::clock_may_be_set_back(&strategy, &memory, set), Ok(()), "{name}");
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

/// A queue with turns in the future would hold its hits until the clock has caught up.
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

/// The decisions on a key that is used up while its clock was set back again and again.
struct Locked {
    /// The longest wait that was told.
    told: u64,
    /// The longest that it was denied after a step, in the time that really went by.
    denied: u64,
}

/// Asks for one key until it is denied, forty times in the time that the limit lasts. `step` gives the time
/// that the clock is set to, if it is, by how much has really passed and what it says.
fn asked<S: Strategy>(
    strategy: &S,
    start: u64,
    lasts: u64,
    step: impl Fn(u64, u64) -> Option<u64>,
) -> Locked {
    const POLLS: u64 = 40;
    let poll = strategy.max_ttl() / POLLS;
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(start)));
    let limiter = Limiter::new(strategy.clone(), Fixed::<S, _, 4>::new(Arc::clone(&clock), 42));
    let (mut locked, mut passed, mut since) = (Locked { told: 0, denied: 0 }, 0, 0);
    for _ in 0..lasts / poll {
        let wait = loop {
            match limiter.check("key").unwrap().outcome() {
                Outcome::Allow { after } => {
                    since = passed;
                    locked.told = locked.told.max(after.as_micros() as u64);
                }
                Outcome::Deny { retry_after } => break retry_after,
                Outcome::Never => panic!("never"),
            }
        };
        locked.told = locked.told.max(wait.as_micros() as u64);
        locked.denied = locked.denied.max(passed - since);
        clock.advance(Duration::from_micros(poll));
        passed += poll;
        if let Some(now) = step(passed / poll, clock.now().as_micros()) {
            clock.set(Timestamp::from_micros(now));
            since = passed;
        }
    }
    locked
}

/// Long runs of a key that is always used up: a clock that is set back by a day, by hours and minutes, by
/// parts of the horizon, and one that wraps.
fn waits_for_its_horizon_at_most<S: Strategy>(name: &str, strategy: S) {
    let (max_ttl, lasts) = (strategy.max_ttl(), 30 * strategy.max_ttl());
    let poll = max_ttl / 40;
    let is_held = |what: &str, locked: Locked, back: u64| {
        assert!(locked.told <= max_ttl, "{name}, {what}: a wait of {} in {max_ttl}", locked.told);
        // Further back than the strategy and the seconds of the table last, the state is moved to the present.
        let ahead = back.min(max_ttl.max(3_100_000));
        let most = max_ttl + ahead + poll;
        assert!(locked.denied <= most, "{name}, {what}: denied for {} in {max_ttl}", locked.denied);
    };
    let start = START.as_micros();
    for back in [86_400_000_000, 3_600_000_000, 60_000_000, 2_200_000, 1_500_000, 1_000_000, 500_000] {
        let step = |polls: u64, now: u64| polls.is_multiple_of(120).then_some(now - back);
        is_held("set back", asked(&strategy, start, lasts, step), back);
    }
    for sixteenths in [1, 3, 5, 9, 15, 17, 33, 64] {
        let back = max_ttl / 16 * sixteenths;
        let step = |polls: u64, now: u64| polls.is_multiple_of(133).then_some(now - back);
        is_held("set back a part", asked(&strategy, start, lasts, step), back);
    }
    // Shortly before the counter of 32 bits wraps, and again once it has.
    let wrap = 1u64 << 32;
    let before = wrap.saturating_sub(2 * max_ttl);
    let step = |polls: u64, now: u64| match now.checked_sub(wrap) {
        Some(now) => Some(now),
        None => polls.is_multiple_of(120).then_some(before),
    };
    is_held("wraps", asked(&strategy, before, lasts, step), wrap);
    let step = |polls: u64, now: u64| (polls == 20).then_some(now - YEAR.as_micros() as u64);
    is_held("a year ahead", asked(&strategy, start, 10 * max_ttl, step), u64::MAX);
}

#[test]
fn a_key_used_up_waits_for_its_horizon_at_most() {
    let ratio = |text: &str| text.parse::<Ratio>().unwrap();
    for rate in [rate!("5/10s"), rate!("7/2s"), rate!("3/290ms"), rate!("5/h")] {
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                let limit = make(rate).unwrap();
                waits_for_its_horizon_at_most($spelling, limit);
                waits_for_its_horizon_at_most(
                    concat!("pair of ", $spelling),
                    (make(rate).unwrap(), TokenBucket::new(rate!("50/min"))),
                );
                waits_for_its_horizon_at_most(
                    concat!("all of ", $spelling),
                    All([make(rate).unwrap(), make(rate!("9/min")).unwrap()]),
                );
            };
        }
        traffik::every_strategy!(each);
        let hours = [Hours::new((8, 0), (18, 0), ratio("1/2"))];
        waits_for_its_horizon_at_most("hours", TimeOfDay::new(TokenBucket::new(rate), hours).unwrap());
        waits_for_its_horizon_at_most("hours", TimeOfDay::new(FixedWindow::new(rate), hours).unwrap());
        let tiers = [(Label(0), ratio("1/2")), (Label(1), Ratio::ONE)];
        waits_for_its_horizon_at_most("tiered", Tiered::new(TokenBucket::new(rate), tiers).unwrap());
        let reserves = [(Label(1), ratio("1/2"))];
        waits_for_its_horizon_at_most("priority", Priority::new(SlidingWindow::new(rate), reserves).unwrap());
    }
}

/// Of the states of a store, whose clock another host may have been ahead by, a limit made of others tells
/// no wait beyond its horizon either, and a queue no turn.
#[test]
fn no_wait_of_a_state_from_the_future_exceeds_the_horizon() {
    fn check<S: Strategy>(name: &str, rate: Rate, strategy: S) {
        let gap = rate.period().as_micros() as u64 / 97;
        let run: Vec<_> = (0..20).map(|hit| Step::new(START.plus_micros(hit * gap), 1)).collect();
        assert_eq!(laws::time_may_step_back(&strategy, &run), Ok(()), "{name} of {rate}");
    }
    for rate in [rate!("5/10s"), rate!("7/2s"), rate!("3/290ms"), rate!("5/h")] {
        macro_rules! each {
            ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
                let make: fn(Rate) -> Option<_> = $make;
                let limit = || make(rate).unwrap();
                check($spelling, rate, limit());
                check(concat!("pair of ", $spelling), rate, (limit(), TokenBucket::new(rate!("50/min"))));
                check(concat!("all of ", $spelling), rate, All([limit(), make(rate!("5/min")).unwrap()]));
            };
        }
        traffik::every_strategy!(each);
    }
}

/// A clock in whole seconds, as a battery keeps it, which is set now and then.
struct Rtc<'a>(&'a ManualClock);

impl Clock for Rtc<'_> {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.now().as_micros() / 1_000_000 * 1_000_000)
    }
}

/// A step forward adds what drains in that time, as far as there is something to drain, and the clock's own
/// second once. A step back adds nothing to a bucket; to a window it may add one, as it begins in another
/// place. Nothing is locked.
#[test]
fn a_clock_of_seconds_that_steps_admits_its_bound_and_locks_nothing() {
    fn check<S: Strategy<Cost = u32> + Bounds>(strategy: S, back_adds: u64) {
        let name = std::any::type_name::<S>();
        let time = ManualClock::new(START);
        let limiter = Limiter::new(strategy.clone(), Fixed::<S, _, 4>::new(Rtc(&time), 7));
        let (mut passed, mut added, mut admitted, mut since) = (0u64, 0u64, 0u128, 0u64);
        // In seconds; by turns of a minute and a little, so that windows are met everywhere.
        let steps = [3i64, -3, -1, 1, -7, 20, -3_600, 86_400, -86_400, 0, -2, 2];
        for (turn, step) in steps.iter().cycle().take(1_200).enumerate() {
            for _ in 0..70 {
                if limiter.check("key").unwrap().outcome().is_allowed() {
                    (admitted, since) = (admitted + 1, passed);
                }
                time.advance(Duration::from_millis(997));
                passed += 997_000;
                let most = strategy.max_ttl() + strategy.max_ttl().max(3_100_000) + 2_000_000;
                assert!(passed - since <= most, "{name}: locked in turn {turn}");
            }
            time.set(Timestamp::from_micros(time.now().as_micros().saturating_add_signed(step * 1_000_000)));
            added +=
                if *step < 0 { back_adds } else { strategy.max_ttl().min(step.unsigned_abs() * 1_000_000) };
            let most = strategy.most(START, START.plus_micros(passed + added + 1_000_000));
            assert!(admitted <= most, "{name}: {admitted} of at most {most} in turn {turn}");
        }
    }
    check(Gcra::new(rate!("5/10s")).burst(3).unwrap(), 0);
    check(TokenBucket::new(rate!("5/10s")), 0);
    check(LeakyBucket::new(rate!("1/s")), 0);
    check(FixedWindow::new(rate!("5/10s")), 10_000_000);
}

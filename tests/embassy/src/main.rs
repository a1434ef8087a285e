//! Holds the clock and timer of embassy-time at the tick rate that this program is built with.

use core::future::Future;
use core::pin::pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Waker};
use core::time::Duration;

use embassy_time::TICK_HZ;
use traffik_core::strategy::Bounds;
use traffik_core::{
    Clock, Decision, EmbassyClock, Fixed, FixedWindow, Gcra, Limiter, Rate, Strategy, Timer, Timestamp,
    TokenBucket,
};

const SECOND: u128 = 1_000_000;

/// A tick as a limit takes it: whole microseconds, rounded up.
const TICK: u64 = 1_000_000u64.div_ceil(TICK_HZ);

/// A counter that stands still until it is set. Nothing here waits to be woken.
struct Counter(AtomicU64);

impl embassy_time_driver::Driver for Counter {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn schedule_wake(&self, _: u64, _: &Waker) {}
}

embassy_time_driver::time_driver_impl!(static COUNTER: Counter = Counter(AtomicU64::new(0)));

fn set(ticks: u64) {
    COUNTER.0.store(ticks, Ordering::Relaxed);
}

/// The time of a tick, rounded down.
fn exact(ticks: u64) -> Timestamp {
    let micros = u128::from(ticks) * SECOND / u128::from(TICK_HZ);
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

fn main() {
    the_clock_is_exact_and_never_ahead();
    a_sleep_ends_at_the_first_tick_that_has_passed_it();
    limits_keep_their_bound_and_their_floor();
    println!("the clock, the timer and three limits are exact at {TICK_HZ} Hz");
}

fn the_clock_is_exact_and_never_ahead() {
    let powers = (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) | 0x55]);
    for ticks in powers.chain([u64::MAX - 1, u64::MAX]).chain(0..10_000) {
        set(ticks);
        assert_eq!(EmbassyClock::new().now(), exact(ticks), "{ticks} ticks");
    }
}

fn a_sleep_ends_at_the_first_tick_that_has_passed_it() {
    let mut context = Context::from_waker(Waker::noop());
    let years = |years: u64| Duration::from_secs(years * 31_557_600);
    let short = [1, 2, 30, 31, 999, 1_000, 1_001, 999_999, 1_000_000, 1_000_001].map(Duration::from_micros);
    for start in [0, 1, 3, 12_345, TICK_HZ * 86_400 * 365 + 7] {
        for wait in short.into_iter().chain([years(1), years(3), years(71), years(100)]) {
            let ticks = (wait.as_micros() * u128::from(TICK_HZ)).div_ceil(SECOND) as u64;
            set(start);
            let watch = EmbassyClock::new().stopwatch();
            let due = EmbassyClock::new().now() + wait;
            let mut sleep = pin!(EmbassyClock::new().sleep(wait));
            assert!(sleep.as_mut().poll(&mut context).is_pending());
            set(start + ticks - 1);
            assert!(sleep.as_mut().poll(&mut context).is_pending(), "{wait:?} from {start} ended early");
            set(start + ticks);
            assert!(sleep.as_mut().poll(&mut context).is_ready(), "{wait:?} from {start} ended late");
            assert!(EmbassyClock::new().now() >= due && watch() >= Some(wait), "{wait:?} from {start}");
        }
    }
    set(5);
    let mut endless = pin!(EmbassyClock::new().sleep(Duration::MAX));
    assert!(endless.as_mut().poll(&mut context).is_pending());
    set(1 << 44);
    assert!(endless.as_mut().poll(&mut context).is_pending());
}

/// How much a client has that asks at each tick until it is denied.
fn limits_keep_their_bound_and_their_floor() {
    for rate in ["300/s", "700/s", "2000/s", "3/7s", "5/min"].map(|rate| rate.parse::<Rate>().unwrap()) {
        let tick = Duration::from_micros(TICK);
        asked_at_each_tick(Gcra::new(rate).tick(tick).unwrap(), true);
        asked_at_each_tick(Gcra::new(rate), TICK == 1);
        let burst = (u128::from(rate.limit()) * tick.as_micros()).div_ceil(rate.period().as_micros()) + 1;
        asked_at_each_tick(TokenBucket::new(rate).burst(burst as u32).unwrap(), true);
        asked_at_each_tick(FixedWindow::new(rate), rate.period() >= tick);
    }
}

/// `is_whole` says that nothing is lost to the tick: what is admitted is the bound, but for the last hit.
fn asked_at_each_tick<S: Strategy<Cost = u32, Verdict = Decision> + Bounds>(strategy: S, is_whole: bool) {
    let name = core::any::type_name::<S>();
    set(TICK_HZ);
    let first = EmbassyClock::new().now();
    let limiter = Limiter::new(strategy.clone(), Fixed::<S, _, 1>::new(EmbassyClock::new(), 1));
    let mut admitted = 0u128;
    for tick in 0..4_000u64 {
        set(TICK_HZ + tick);
        while limiter.check(&()).unwrap().is_allowed() {
            admitted += 1;
        }
        let now = EmbassyClock::new().now();
        let (least, most) = (strategy.least(first, now, 1), strategy.most(first, now));
        assert!(admitted <= most, "{name}: {admitted} of at most {most} by tick {tick}");
        let is_lost = is_whole && admitted < least;
        assert!(!is_lost, "{name}: {admitted} of at least {least} by tick {tick}");
    }
}

//! Timers that wake late, or early: the next turn is counted from when the one before was due.

use std::cell::{Cell, RefCell};
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use traffik::runtime::{Manual, Runtime};
use traffik::storage::Local;
use traffik::{
    AsyncLimiter, Clock, FixedWindow, Gcra, LeakyBucketQueue, Limiter, ManualClock, Memory, Rate, SlidingLog,
    Strategy, Timer, Timestamp, TokenBucket,
};

use super::crowd::{SECOND, all, limited};

/// A timer that sleeps so many microseconds longer than it is asked to, or shorter.
#[derive(Clone)]
struct Off(Manual, i64);

impl Timer for Off {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        let off = Duration::from_micros(self.1.unsigned_abs());
        self.0.sleep(if self.1 < 0 { wait.saturating_sub(off).max(wait / 2) } else { wait + off })
    }

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        Timer::stopwatch(&self.0)
    }
}

/// A timer that is over at once, by moving a clock: once by so many microseconds more.
struct Jumping<'a>(&'a ManualClock, &'a Cell<i64>);

impl Timer for Jumping<'_> {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        let then = self.0.now() + wait;
        self.0.set(Timestamp::from_micros(then.as_micros().saturating_add_signed(self.1.take())));
        ready(())
    }
}

const LATE: i64 = 1_300;

/// The times at which a task is admitted that waits again and again for ten seconds, in microseconds.
fn served<S: Strategy>(strategy: S, off: i64) -> Vec<u64> {
    let runtime = Manual::new();
    let (limiter, timer) = (limited(strategy, &runtime), Off(runtime.clone(), off));
    let mut times = Vec::new();
    let _ = runtime.run(runtime.timeout(10 * SECOND - Duration::from_micros(1), async {
        loop {
            let _ = limiter.until_ready("key", &timer).await.unwrap();
            times.push(runtime.now().as_micros());
        }
    }));
    times
}

/// The first at once, and one every 5 ms from then on, each as late as the timer is.
fn expected(off: u64) -> Vec<u64> {
    (0..2_000).map(|turn| if turn == 0 { 0 } else { 5_000 * turn + off }).collect()
}

#[test]
fn a_late_timer_puts_off_each_turn_and_not_all_that_follow() {
    let rate = Rate::per_second(200);
    let late = expected(LATE as u64);
    assert_eq!(served(Gcra::new(rate), LATE), late);
    assert_eq!(served(TokenBucket::new(rate).burst(1).unwrap(), LATE), late);
    assert_eq!(served(LeakyBucketQueue::new(rate).queue(1).unwrap(), LATE), late);
    // A delay longer than an interval is not made up for: no two are admitted at once.
    assert_eq!(served(Gcra::new(rate), 4_999), expected(4_999));
    for late in [5_000, 15_000] {
        let times = served(Gcra::new(rate), late);
        let interval = late as u64 + 1;
        assert_eq!(times.len() as u64, 1 + (10_000_000 - 5_000) / interval);
        assert!(times[1..].windows(2).all(|pair| pair[1] == pair[0] + interval), "{late}: {times:?}");
    }
}

#[test]
fn an_early_timer_admits_nobody_early() {
    let exact = expected(0);
    for early in [-1, -1_300, -4_999] {
        assert_eq!(served(Gcra::new(Rate::per_second(200)), early), exact, "{early}");
    }
}

#[test]
fn several_waiters_of_different_costs_share_the_rate_in_their_order() {
    let runtime = Manual::new();
    let limiter = limited(TokenBucket::new(Rate::per_second(200)).burst(3).unwrap(), &runtime);
    let timer = Off(runtime.clone(), LATE);
    assert!(limiter.check_n("key", 3).unwrap().is_allowed());
    let times = RefCell::new(Vec::new());
    let wait = |number: usize| {
        let (limiter, timer, runtime, times) = (&limiter, &timer, &runtime, &times);
        async move {
            assert!(limiter.until_ready_n("key", number as u32 % 3 + 1, timer).await.unwrap().is_allowed());
            times.borrow_mut().push((number, runtime.now().as_micros()));
        }
    };
    runtime.run(all((0..900).map(wait))).unwrap();
    // Costs of 1, 2, 3, and again: each is due when all before it have drained.
    let mut due = 0;
    for (number, (served, at)) in times.into_inner().into_iter().enumerate() {
        due += 5_000 * (number as u64 % 3 + 1);
        assert_eq!((served, at), (number, due + LATE as u64));
    }
}

#[test]
fn an_awaited_storage_of_this_process_counts_from_when_it_was_due_as_well() {
    let runtime = Manual::new();
    let storage = Arc::new(Local(Memory::builder().clock(runtime.clone()).build()));
    let limiter = AsyncLimiter::new(Gcra::new(Rate::per_second(200)), storage);
    let timer = Off(runtime.clone(), LATE);
    let within = async {
        for turn in 0..2_000u64 {
            assert!(limiter.until_ready_within("key", 1, SECOND, &timer).await.unwrap().is_allowed());
            assert_eq!(runtime.now(), Timestamp::from_micros(expected(LATE as u64)[turn as usize]));
        }
    };
    runtime.run(within).unwrap();
}

/// A task that was suspended for a second does not make up for it, and no two pass at once that are to be
/// apart.
#[test]
fn a_task_that_was_suspended_catches_nothing_up() {
    for late in [0, 1, 1_300, 4_999, 5_000, 15_000, 16_000, 1_000_000] {
        let times = served(Gcra::new(Rate::per_second(200)), late);
        assert!(times.is_sorted_by(|one, other| one < other), "{late} late: {times:?}");
    }
}

/// Over any time of the clock no more is admitted than the strategy admits in that time and an interval.
#[test]
fn no_more_is_admitted_than_in_an_interval_more() {
    for off in [-700, 0, 1, 300, LATE, 3_999, 4_000, 9_000, 15_625, 15_626, 40_000] {
        let log = served(SlidingLog::<5>::new("5/20ms".parse().unwrap()).unwrap(), off);
        for (at, first) in log.iter().enumerate() {
            // Six are decided in 20 ms at least, and the first is less than an interval of 4 ms late.
            let within = log[at..].iter().take_while(|time| **time < first + 16_000).count();
            assert!(within <= 5, "{within} in 16 ms, {off} late");
        }
        let windows = served(FixedWindow::new("5/20ms".parse().unwrap()), off);
        assert!(windows.len() <= 5 * 501 && log.len() <= 5 * 501, "{off}: {} {}", windows.len(), log.len());
    }
}

/// A clock that jumps while a task sleeps: forward, it counts as late; back, it waits as it would have.
#[test]
fn a_clock_that_jumps_is_followed() {
    let clock = ManualClock::new(Timestamp::from_micros(60_000_000));
    let limiter = Limiter::new(Gcra::new(Rate::per_second(1)), Memory::builder().clock(&clock).build());
    let jumped = |by: i64| {
        let (from, by) = (clock.now().as_micros(), Cell::new(by));
        let verdict = limiter.until_ready("key", &Jumping(&clock, &by)).now_or_never();
        (verdict.unwrap().unwrap().is_allowed(), clock.now().as_micros() - from)
    };
    assert!(limiter.check("key").unwrap().is_allowed());
    // An hour ahead: admitted, by the present less a tick.
    assert_eq!(jumped(3_600_000_000), (true, 3_601_000_000));
    assert!(!limiter.check("key").unwrap().is_allowed(), "charged at the present, less a tick");
    // Half a second back: the wait is half a second longer. The turn before came a tick early.
    assert_eq!(jumped(-500_000), (true, 1_000_000 - 15_625));
}

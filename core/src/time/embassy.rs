//! The clock and timer of [`embassy_time`], for firmware (feature `embassy-time`).

use core::future::Future;
use core::time::Duration;

use embassy_time::Instant;

use super::micros_ceil;
use crate::{Clock, Timer, Timestamp};

/// The time since the device started, or since an epoch if it was given one. As a [`Timer`] it waits for
/// admissions.
///
/// The driver, its tick rate and its queue are the binary's choice. A tick longer than a microsecond makes
/// the clock lag by up to a tick; it never runs ahead.
///
/// ```no_run
/// use traffik_core::{Clock, EmbassyClock, Timestamp};
///
/// let since_start = EmbassyClock::new();
/// // The time of day as a receiver or a server told it, here 2026-11-21.
/// let unix = EmbassyClock::with_epoch(Timestamp::from_micros(1_795_219_200_000_000));
/// assert!(unix.now() > since_start.now());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyClock {
    /// The time at which the device started.
    start: Timestamp,
}

impl EmbassyClock {
    /// A clock whose epoch is the start of the device.
    #[must_use]
    pub const fn new() -> Self {
        Self { start: Timestamp::EPOCH }
    }

    /// A clock that says `now` at this moment, and moves on from there.
    ///
    /// Clock-aligned windows and times of day need one that knows the Unix epoch.
    #[must_use]
    pub fn with_epoch(now: Timestamp) -> Self {
        Self { start: Timestamp::from_micros(now.micros_since(Self::new().now())) }
    }
}

impl Clock for EmbassyClock {
    #[inline]
    fn now(&self) -> Timestamp {
        self.start.plus_micros(Instant::now().as_micros())
    }
}

/// Sleeps on the timer queue of [`embassy_time`].
///
/// A wait is rounded up to a tick, and has passed when the clock says so. One of more than 71 years ends
/// after those.
impl Timer for EmbassyClock {
    #[inline]
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        /// So many microseconds can be counted in ticks of any length that there is.
        const LONGEST: u64 = 1 << 51;
        let wait = embassy_time::Duration::from_micros(micros_ceil(wait).min(LONGEST));
        embassy_time::Timer::at(Instant::now().saturating_add(wait))
    }

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        let start = Instant::now();
        move || Some(Duration::from_micros(Instant::now().saturating_duration_since(start).as_micros()))
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use embassy_time::MockDriver;

    use super::*;
    use crate::{Fixed, Gcra, Limiter, Rate};

    /// The driver is one for all; so tests take turns, and each begins at the start of the device.
    fn device() -> (&'static MockDriver, MutexGuard<'static, ()>) {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        MockDriver::get().reset();
        (MockDriver::get(), turn)
    }

    fn pass(driver: &MockDriver, micros: u64) {
        driver.advance(embassy_time::Duration::from_micros(micros));
    }

    #[test]
    fn the_clock_counts_from_the_start_or_from_an_epoch() {
        let (driver, _turn) = device();
        pass(driver, 7);
        let told = Timestamp::from_micros(1_795_219_200_000_000);
        let (plain, unix) = (EmbassyClock::new(), EmbassyClock::with_epoch(told));
        assert_eq!((plain.now(), unix.now()), (Timestamp::from_micros(7), told));
        pass(driver, 1_000_000);
        assert_eq!(
            (plain.now(), unix.now()),
            (Timestamp::from_micros(1_000_007), told.plus_micros(1_000_000))
        );
        // An epoch that began after the device did is taken as its start.
        assert_eq!(EmbassyClock::with_epoch(Timestamp::EPOCH).now(), plain.now());
        assert_eq!(EmbassyClock::with_epoch(Timestamp::MAX).now(), Timestamp::MAX);
    }

    #[test]
    fn the_timer_completes_when_the_wait_has_passed_and_not_before() {
        let (driver, _turn) = device();
        let mut context = Context::from_waker(Waker::noop());
        for (wait, passes) in
            [(Duration::from_micros(5), 5), (Duration::from_nanos(4_001), 5), (Duration::MAX, 0)]
        {
            let mut sleep = pin!(EmbassyClock::new().sleep(wait));
            assert!(sleep.as_mut().poll(&mut context).is_pending());
            if wait == Duration::MAX {
                continue;
            }
            pass(driver, passes - 1);
            assert!(sleep.as_mut().poll(&mut context).is_pending(), "{wait:?}");
            pass(driver, 1);
            assert!(sleep.as_mut().poll(&mut context).is_ready(), "{wait:?}");
        }
    }

    #[test]
    fn a_limiter_waits_on_the_timer_for_what_its_clock_says() {
        let (driver, _turn) = device();
        let storage = Fixed::<Gcra, _, 4>::new(EmbassyClock::new(), 1);
        let (limiter, timer) = (Limiter::new(Gcra::new(Rate::per_second(2)), storage), EmbassyClock::new());
        assert!(limiter.check("sensor").unwrap().is_allowed());
        let mut waiting = pin!(limiter.until_ready("sensor", &timer));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            assert!(waiting.as_mut().poll(&mut context).is_pending());
            pass(driver, 250_000);
        }
        assert!(matches!(waiting.poll(&mut context), Poll::Ready(Ok(verdict)) if verdict.is_allowed()));
    }
}

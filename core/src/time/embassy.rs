//! The clock and timer of [`embassy_time`], for firmware (feature `embassy-time`).

use core::future::Future;
use core::time::Duration;

use embassy_time::Instant;

use super::conversion::Conversion;
use super::timestamp::micros_ceil;
use super::{Clock, Timer, Timestamp};

/// The clock and the [`Timer`] of embassy-time: the time since the device started.
///
/// Choose it in firmware on embassy. The binary chooses the driver, its tick rate and its queue. A tick
/// longer than a microsecond makes the clock lag by up to a tick; it never runs ahead. Each limit states what
/// that costs ([`Gcra::tick`](crate::Gcra::tick)).
///
/// Windows aligned to the calendar and times of day need a clock that knows the Unix epoch: with the feature
/// `critical-section` that is a `SettableClock<EmbassyClock>`, which is set once the time is known.
///
/// ```no_run
/// use traffik::{Clock, EmbassyClock, Fixed, Gcra, Limiter, rate};
///
/// let storage = Fixed::<Gcra, _, 8>::new(EmbassyClock::new(), 0x5eed);
/// let limiter = Limiter::new(Gcra::new(rate!("2/s")), storage);
/// assert!(limiter.check("sensor")?.is_allowed());
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyClock(());

/// The conversions between ticks and microseconds; those of embassy-time overflow after two years at the
/// highest rates.
const TO_MICROS: Conversion = Conversion::new(embassy_time::TICK_HZ, 1_000_000);
const TO_TICKS: Conversion = Conversion::new(1_000_000, embassy_time::TICK_HZ);

impl EmbassyClock {
    /// Creates a clock whose epoch is the start of the device.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }
}

impl Clock for EmbassyClock {
    #[inline]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(TO_MICROS.floor(Instant::now().as_ticks()))
    }
}

/// Sleeps on the timer queue of [`embassy_time`].
///
/// A wait is rounded up to a tick, and has passed when the clock says so. A wait that is longer than ticks
/// can count never ends.
impl Timer for EmbassyClock {
    #[inline]
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        let wait = micros_ceil(wait);
        let ticks = TO_TICKS.floor(wait);
        // until = now + ceil(wait in ticks): one more tick if the whole ones are shorter than the wait.
        let part = u64::from(TO_MICROS.floor(ticks) < wait);
        let until = Instant::now().as_ticks().saturating_add(ticks).saturating_add(part);
        embassy_time::Timer::at(Instant::from_ticks(until))
    }

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        let start = Instant::now().as_ticks();
        move || {
            let passed = Instant::now().as_ticks().saturating_sub(start);
            Some(Duration::from_micros(TO_MICROS.floor(passed)))
        }
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

    /// Returns the driver, which all tests share: they take turns, and each begins at the start of the
    /// device.
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
    fn the_clock_counts_from_the_start() {
        let (driver, _turn) = device();
        pass(driver, 7);
        assert_eq!(EmbassyClock::new().now(), Timestamp::from_micros(7));
        pass(driver, 1_000_000);
        assert_eq!(EmbassyClock::new().now(), Timestamp::from_micros(1_000_007));
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

//! The clock and the timer of [`embassy_time`], for firmware (feature `embassy-time`).

use core::future::Future;
use core::time::Duration;

use embassy_time::Instant;

use super::micros_ceil;
use crate::{Clock, Timer, Timestamp};

/// The time since the device started, or since an epoch if it was told one.
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
/// A wait is rounded up to a tick, and has passed when an [`EmbassyClock`] says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyTimer;

impl Timer for EmbassyTimer {
    #[inline]
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        // A wait too long to be told in ticks ends with time itself.
        let ticks = embassy_time::Duration::try_from_micros(micros_ceil(wait));
        embassy_time::Timer::at(Instant::now().saturating_add(ticks.unwrap_or(embassy_time::Duration::MAX)))
    }
}

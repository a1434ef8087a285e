//! The clock of virtual time, for tests and simulations.

use core::time::Duration;

use super::timestamp::micros_ceil;
use super::{Clock, EpochClock, Timestamp};

#[cfg(target_has_atomic = "64")]
mod atomic;
#[cfg(not(any(target_has_atomic = "64", feature = "critical-section")))]
mod cell;
#[cfg(all(not(target_has_atomic = "64"), feature = "critical-section"))]
mod section;

#[cfg(target_has_atomic = "64")]
use atomic::Register;
#[cfg(not(any(target_has_atomic = "64", feature = "critical-section")))]
use cell::Register;
#[cfg(all(not(target_has_atomic = "64"), feature = "critical-section"))]
use section::Register;

/// A clock that stands still until it is moved: virtual time for tests and simulations.
///
/// Choose it to test a limit without waiting. It is `Sync` where the target has atomics of 64 bits, and
/// elsewhere with the feature `critical-section`.
///
/// ```
/// use core::time::Duration;
/// use traffik::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::new(Timestamp::EPOCH);
/// clock.advance(Duration::from_millis(5));
/// assert_eq!(clock.now(), Timestamp::from_micros(5_000));
/// ```
#[derive(Debug, Default)]
pub struct ManualClock(Register);

impl ManualClock {
    /// Creates a clock that stands at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self(Register::new(now.as_micros()))
    }

    /// Moves the clock to `now`, which may lie in the past: clocks of the real world step back too.
    pub fn set(&self, now: Timestamp) {
        self.0.update(|_| now.as_micros());
    }

    /// Moves the clock forward. Concurrent calls add up.
    pub fn advance(&self, by: Duration) {
        self.0.update(|now| now.saturating_add(micros_ceil(by)));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.get())
    }
}

/// Counts from the Unix epoch if it was set so.
impl EpochClock for ManualClock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_its_methods() {
        let clock = ManualClock::new(Timestamp::from_micros(7));
        assert_eq!(clock.now(), Timestamp::from_micros(7));
        clock.set(Timestamp::MAX);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
        clock.set(Timestamp::EPOCH);
        assert_eq!(clock.now(), Timestamp::EPOCH);
    }
}

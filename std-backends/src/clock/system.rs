//! The clock that the operating system sets.

use traffik_core::{Clock, EpochClock, Timestamp};

use super::source::{SystemTime, UNIX_EPOCH, micros};

/// The wall clock: microseconds since 1970, as the operating system has it.
///
/// May step, also back, when the system's time is set; limits then hold by the states' own times. Use it
/// where several hosts share a store, else rather [`MonotonicClock`](crate::MonotonicClock).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // Before 1970 there is no time yet.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus_micros(micros(since))
    }
}

impl EpochClock for SystemClock {}

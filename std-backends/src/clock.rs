//! The clocks of the operating system.

use traffik_core::{Clock, EpochClock, Timestamp};

mod coarse;
mod counter;
mod monotonic;
mod source;
#[cfg(target_family = "wasm")]
#[path = "clock/exact_tick.rs"]
mod tick;
#[cfg(not(target_family = "wasm"))]
mod tick;

pub use coarse::CoarseClock;
pub use monotonic::MonotonicClock;
use source::{SystemTime, UNIX_EPOCH};

/// The wall clock: microseconds since 1970, as the operating system has it.
///
/// May step, also back, when the system's time is set; limits then hold by the states' own times. Use it
/// where several hosts share a store, else rather [`MonotonicClock`].
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
impl EpochClock for MonotonicClock {}
impl EpochClock for CoarseClock {}

/// Whole microseconds; as many as there are in half a million years, if there are more.
fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2020-01-01.
    const PAST: Timestamp = Timestamp::from_micros(1_577_836_800_000_000);

    #[test]
    fn every_clock_knows_the_epoch_and_moves_forward() {
        let clocks: [&dyn EpochClock; 3] =
            [&SystemClock, &MonotonicClock::default(), &CoarseClock::default()];
        for clock in clocks {
            let first = clock.now();
            assert!(first > PAST);
            while clock.now() <= first {
                std::hint::spin_loop();
            }
        }
    }
}

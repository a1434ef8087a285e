//! The clocks of the operating system.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use traffik_core::{Clock, EpochClock, Timestamp};

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

/// The wall clock read once, and steady progress from there: never steps, always moves forward.
///
/// Windows stay aligned to the wall clock of the start; a correction of the system's time is not followed.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    start: Timestamp,
    began: Instant,
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self { start: SystemClock.now(), began: Instant::now() }
    }
}

impl Clock for MonotonicClock {
    #[inline]
    fn now(&self) -> Timestamp {
        self.start.plus_micros(micros(self.began.elapsed()))
    }
}

/// A [`MonotonicClock`] that only moves with the kernel's timer tick, and is several times cheaper to read.
///
/// It lags by up to one tick: 1 to 10 ms on Linux, depending on how the kernel was built. It never runs
/// ahead, so over any time `T` a limit admits at most what it would over `T` and one tick; waits may be told
/// up to a tick too long. Good for periods of seconds and more.
#[derive(Clone, Copy, Debug)]
pub struct CoarseClock {
    start: Timestamp,
    began: coarsetime::Instant,
}

impl Default for CoarseClock {
    fn default() -> Self {
        Self { start: SystemClock.now(), began: coarsetime::Instant::now() }
    }
}

impl Clock for CoarseClock {
    #[inline]
    fn now(&self) -> Timestamp {
        self.start.plus_micros(coarsetime::Instant::now().duration_since(self.began).as_micros())
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

    #[test]
    fn the_coarse_clock_never_runs_ahead_and_lags_by_a_tick_at_most() {
        let (exact, coarse) = (MonotonicClock::default(), CoarseClock::default());
        // Both start from a reading of the wall clock of their own, a moment apart.
        let apart = coarse.start.micros_since(exact.start);
        let began = exact.now();
        while exact.now().micros_since(began) < 50_000 {
            let (low, reading, high) = (exact.now(), coarse.now(), exact.now());
            assert!(reading <= high.plus_micros(apart + 10_000), "ahead: {reading} after {high}");
            assert!(reading.plus_micros(1_000_000) >= low, "lagging: {reading} before {low}");
        }
    }
}

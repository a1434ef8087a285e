//! A clock that moves with the kernel's timer tick.

use traffik_core::{Clock, EpochClock, Timestamp};

use super::system::SystemClock;
use super::tick::Tick;

/// A clock that moves with the kernel's timer tick, and is several times cheaper to read than a
/// [`MonotonicClock`](super::MonotonicClock).
///
/// Choose it for limits over seconds or more, where the cost of reading the clock matters.
///
/// It lags by up to one tick: 1 to 10 ms on Linux, depending on how the kernel was built. It never runs
/// ahead. So over any time `T` a limit admits at most what it would over `T` and one tick
/// (`tests/models/laws/coarse_clock.rs` proves and tests it). A wait may be up to one tick too long.
/// WebAssembly has no such clock: there this clock is exact, and as expensive to read as an exact one.
///
/// ```
/// use traffik::{CoarseClock, Limiter, Memory, TokenBucket, rate};
///
/// let storage = Memory::builder().clock(CoarseClock::default()).build();
/// let limiter = Limiter::new(TokenBucket::new(rate!("100/min")), storage);
/// assert!(limiter.check("alice")?.is_allowed());
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CoarseClock {
    start: Timestamp,
    began: Tick,
}

impl Default for CoarseClock {
    fn default() -> Self {
        Self { start: SystemClock.now(), began: Tick::now() }
    }
}

impl Clock for CoarseClock {
    #[inline]
    fn now(&self) -> Timestamp {
        self.start.plus_micros(Tick::now().micros_since(self.began))
    }
}

impl EpochClock for CoarseClock {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MonotonicClock;

    #[test]
    fn the_coarse_clock_never_runs_ahead_and_lags_by_a_tick_at_most() {
        let exact = MonotonicClock::default();
        let (first, coarse) = (exact.now(), CoarseClock::default());
        // Both start from a reading of the wall clock of their own, a moment apart.
        let apart = coarse.start.micros_since(first);
        let began = exact.now();
        while exact.now().micros_since(began) < 50_000 {
            let (low, reading, high) = (exact.now(), coarse.now(), exact.now());
            assert!(reading <= high.plus_micros(apart + 10_000), "ahead: {reading} after {high}");
            assert!(reading.plus_micros(1_000_000) >= low, "lagging: {reading} before {low}");
        }
    }
}

//! The clocks of the operating system.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// The wall clock read once, and progress from there. The default.
///
/// Counts the processor's cycles where they can be trusted, a third of the cost of asking the operating system,
/// and is held against its monotonic clock every second: it may then step, also back, by what the counter was off
/// in that second. Windows stay aligned to the wall clock of the start; a correction of the system's time is
/// not followed. The first one in a process takes up to 0.2 s to learn how fast the counter is.
#[derive(Debug)]
pub struct MonotonicClock {
    start: Timestamp,
    began: Instant,
    counter: quanta::Clock,
    /// The counter when this clock began.
    origin: u64,
    /// When the counter was last held against the operating system, in its own microseconds.
    compared: AtomicU64,
    /// What to add to its microseconds since then; wraps around, for it may have to be taken off.
    correction: AtomicU64,
}

impl MonotonicClock {
    /// How long the counter is trusted, in microseconds.
    const TRUSTED: u64 = 1_000_000;

    #[inline]
    fn counted(&self) -> u64 {
        self.counter.delta_as_nanos(self.origin, self.counter.raw()) / 1_000
    }

    /// Holds the counter against the operating system. That several threads may do so at once does no harm.
    #[cold]
    fn compare(&self) -> u64 {
        let (elapsed, counted) = (micros(self.began.elapsed()), self.counted());
        self.correction.store(elapsed.wrapping_sub(counted), Ordering::Relaxed);
        self.compared.store(counted, Ordering::Relaxed);
        counted
    }
}

/// How fast the counter is, learnt once: asking the processor takes microseconds, many of them in a virtual machine.
static COUNTER: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

impl Default for MonotonicClock {
    fn default() -> Self {
        let counter = COUNTER.clone();
        let (start, began, origin) = (SystemClock.now(), Instant::now(), counter.raw());
        let (compared, correction) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { start, began, counter, origin, compared, correction }
    }
}

/// A clock that says the same.
impl Clone for MonotonicClock {
    fn clone(&self) -> Self {
        let copy = |from: &AtomicU64| AtomicU64::new(from.load(Ordering::Relaxed));
        let (compared, correction) = (copy(&self.compared), copy(&self.correction));
        Self { counter: self.counter.clone(), compared, correction, ..*self }
    }
}

impl Clock for MonotonicClock {
    #[inline]
    fn now(&self) -> Timestamp {
        let mut counted = self.counted();
        if counted.wrapping_sub(self.compared.load(Ordering::Relaxed)) >= Self::TRUSTED {
            counted = self.compare();
        }
        self.start.plus_micros(counted.wrapping_add(self.correction.load(Ordering::Relaxed)))
    }
}

/// A [`MonotonicClock`] that only moves with the kernel's timer tick, and is several times cheaper to read.
///
/// It lags by up to one tick: 1 to 10 ms on Linux, depending on how the kernel was built. It never runs
/// ahead, so over any time `T` a limit admits at most what it would over `T` and one tick (`tests/models/laws/coarse_clock.rs` says why, and tries it); waits may be told
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

    /// A counter that is off is corrected by the operating system's clock as soon as it is held against it.
    #[test]
    fn the_counter_is_held_against_the_operating_system() {
        let clock = MonotonicClock::default();
        for off in [5_000_000, 5_000_000u64.wrapping_neg()] {
            clock.correction.store(off, Ordering::Relaxed);
            clock.compared.store(clock.counted().wrapping_sub(MonotonicClock::TRUSTED), Ordering::Relaxed);
            let (low, now, high) =
                (micros(clock.began.elapsed()), clock.now(), micros(clock.began.elapsed()));
            let elapsed = now.micros_since(clock.start);
            assert!(low.saturating_sub(1) <= elapsed && elapsed <= high + 1, "{low} <= {elapsed} <= {high}");
        }
        assert!(clock.clone().now().micros_since(clock.now()) < 1_000_000);
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

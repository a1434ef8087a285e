//! The wall clock read once, and progress by the cheapest steady counter there is.

use std::sync::atomic::Ordering;
use std::time::Duration;

use portable_atomic::AtomicU64;
use traffik_core::{Clock, EpochClock, Timestamp};

use super::counter;
use super::source::{Instant, micros};
use super::system::SystemClock;

/// The wall clock read once, and progress from there. The default.
///
/// Counts the processor's cycles where they can be trusted, a third of the cost of asking the operating
/// system, and is held against its monotonic clock every second: it may then step, also back, by the
/// counter's error in that second. Windows stay aligned to the wall clock of the start; a correction of the
/// system's time is not followed. For its first tenth of a second it asks the operating system, and learns
/// meanwhile how fast the counter is: nothing waits for that.
#[derive(Debug)]
pub struct MonotonicClock {
    start: Timestamp,
    began: Instant,
    /// The counter when this clock began.
    origin: u64,
    /// Microseconds in a tick of the counter, in units of 2⁻⁴⁸; 0 until it is learnt.
    scale: AtomicU64,
    /// When the counter was last held against the operating system, in its own microseconds.
    compared: AtomicU64,
    /// The microseconds to add to the counter's; wraps around, for they may be less than none.
    correction: AtomicU64,
}

impl MonotonicClock {
    /// How long the counter is trusted, in microseconds.
    const TRUSTED: u64 = 1_000_000;

    /// How long is counted to learn how fast it is. Both clocks are read within some 100 ns of each other, so
    /// the scale is off by about 1 in a million.
    const LEARNING: Duration = Duration::from_millis(100);

    /// A time of the last comparison that no counter trusts: the operating system is asked.
    const NEVER: u64 = 1 << 63;

    #[inline]
    fn counted(&self, counter: u64) -> u64 {
        let (ticks, scale) = (counter.wrapping_sub(self.origin), self.scale.load(Ordering::Relaxed));
        ((u128::from(ticks) * u128::from(scale)) >> 48) as u64
    }

    /// Asks the operating system for the microseconds since the start, and holds the counter against them.
    /// That several threads may do so at once does no harm.
    #[cold]
    fn compare(&self) -> u64 {
        let is_learnt = || self.scale.load(Ordering::Relaxed) > 0;
        if !is_learnt() {
            let elapsed = self.began.elapsed();
            if elapsed < Self::LEARNING || !counter::is_steady() {
                return micros(elapsed);
            }
        }
        let (now, counter) = both();
        let elapsed = now.duration_since(self.began);
        if !is_learnt() {
            let ticks = u128::from(counter.wrapping_sub(self.origin)) * 1_000;
            let scale = (elapsed.as_nanos() << 48).checked_div(ticks).map(u64::try_from);
            // Of threads that learn at once the first decides, so that no two scales are mixed.
            let _ = scale
                .and_then(Result::ok)
                .map(|scale| self.scale.compare_exchange(0, scale, Ordering::Relaxed, Ordering::Relaxed));
        }
        let elapsed = micros(elapsed);
        if is_learnt() {
            let counted = self.counted(counter);
            self.correction.store(elapsed.wrapping_sub(counted), Ordering::Relaxed);
            self.compared.store(counted, Ordering::Relaxed);
        }
        elapsed
    }
}

/// The operating system's clock and the counter, both of the same moment: the thread may be interrupted
/// between reading the one and the other, so of a few readings the one counts that took the shortest.
fn both() -> (Instant, u64) {
    let read = || {
        let (before, now, after) = (counter::read(), Instant::now(), counter::read());
        let took = after.wrapping_sub(before);
        (took, now, before.wrapping_add(took / 2))
    };
    let first = read();
    let (_, now, counter) =
        [read(), read()].into_iter().fold(first, |best, it| if it.0 < best.0 { it } else { best });
    (now, counter)
}

impl Default for MonotonicClock {
    fn default() -> Self {
        let (start, (began, origin)) = (SystemClock.now(), both());
        let (scale, compared, correction) =
            (AtomicU64::new(0), AtomicU64::new(Self::NEVER), AtomicU64::new(0));
        Self { start, began, origin, scale, compared, correction }
    }
}

/// A clock that says the same.
impl Clone for MonotonicClock {
    fn clone(&self) -> Self {
        let copy = |from: &AtomicU64| AtomicU64::new(from.load(Ordering::Relaxed));
        let (scale, compared, correction) = (copy(&self.scale), copy(&self.compared), copy(&self.correction));
        Self { scale, compared, correction, ..*self }
    }
}

impl Clock for MonotonicClock {
    #[inline]
    fn now(&self) -> Timestamp {
        let counted = self.counted(counter::read());
        let since = if counted.wrapping_sub(self.compared.load(Ordering::Relaxed)) >= Self::TRUSTED {
            self.compare()
        } else {
            counted.wrapping_add(self.correction.load(Ordering::Relaxed))
        };
        self.start.plus_micros(since)
    }
}

impl EpochClock for MonotonicClock {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reading of a clock lies between two of the operating system's, a few microseconds apart from it.
    fn holds(clock: &MonotonicClock, error: u64) {
        let (low, now, high) = (micros(clock.began.elapsed()), clock.now(), micros(clock.began.elapsed()));
        let elapsed = now.micros_since(clock.start);
        assert!(
            low.saturating_sub(error) <= elapsed && elapsed <= high + error,
            "{low} <= {elapsed} <= {high}"
        );
    }

    #[test]
    fn the_counter_is_learnt_meanwhile_and_nothing_waits_for_it() {
        let clock = MonotonicClock::default();
        let mut asked = 0u64;
        while clock.scale.load(Ordering::Relaxed) == 0 && clock.began.elapsed() < 2 * MonotonicClock::LEARNING
        {
            holds(&clock, 1);
            asked += 1;
        }
        assert!(asked > 10, "the clock could be read {asked} times");
        assert_eq!(clock.scale.load(Ordering::Relaxed) != 0, counter::is_steady());
        while clock.began.elapsed() < 4 * MonotonicClock::LEARNING {
            holds(&clock, 20);
        }
        let copy = clock.clone();
        assert!(copy.now().micros_since(clock.now()) < 1_000_000);
    }

    /// A counter that is off is corrected by the operating system's clock as soon as it is held against it.
    #[test]
    fn the_counter_is_held_against_the_operating_system() {
        let clock = MonotonicClock::default();
        while counter::is_steady() && clock.scale.load(Ordering::Relaxed) == 0 {
            clock.now();
        }
        for off in [5_000_000, 5_000_000u64.wrapping_neg()] {
            clock.correction.store(off, Ordering::Relaxed);
            let counted = clock.counted(counter::read());
            clock.compared.store(counted.wrapping_sub(MonotonicClock::TRUSTED), Ordering::Relaxed);
            holds(&clock, 1);
        }
    }
}

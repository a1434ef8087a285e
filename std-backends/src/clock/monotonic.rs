//! The wall clock at the start, advanced by the cheapest steady counter.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portable_atomic::AtomicU64;
use traffik_core::{Clock, EpochClock, Timestamp};

use super::counter;
use super::source::{Instant, micros};
use super::system::SystemClock;

/// A clock that starts at the wall clock and then follows the monotonic clock of the operating system. The
/// default of storages in this process.
///
/// Choose it for states that only one process uses. Use [`SystemClock`](crate::SystemClock) where several
/// processes or hosts share them.
///
/// * It ignores later corrections of the system's time, so windows stay aligned to the wall clock as it was
///   at the start. Processes that started before and after a correction disagree by it.
/// * It counts the processor's cycles where they are steady, at a third of the cost of asking the operating
///   system. Every second it compares the counter with the operating system's monotonic clock, and may then
///   step, also backwards, by the counter's error in that second.
/// * For its first 100 ms it asks the operating system, and meanwhile learns the rate of the counter.
///   Nothing waits for that. It learns the rate again if the counter was off by more than a thousandth and
///   1 ms, as after a machine has slept.
///
/// ```
/// use traffik::{Clock, MonotonicClock};
///
/// let clock = MonotonicClock::default();
/// let first = clock.now();
/// while clock.now() == first {}
/// assert!(clock.now() > first);
/// ```
#[derive(Debug)]
pub struct MonotonicClock {
    start: Timestamp,
    began: Instant,
    /// The counter at the start of this clock.
    origin: u64,
    /// Microseconds per tick of the counter, in units of 2⁻⁴⁸; 0 until it is learnt.
    scale: AtomicU64,
    /// The time of the last comparison with the operating system, in microseconds of the counter.
    compared: AtomicU64,
    /// The microseconds to add to the counter's. Wraps around, since they may be negative.
    correction: AtomicU64,
    /// The readings of both clocks at which learning began.
    baseline: Mutex<(Instant, u64)>,
}

impl MonotonicClock {
    /// The longest time between two comparisons, in microseconds.
    const TRUSTED: u64 = 1_000_000;

    /// The least time over which the rate is measured. Both clocks are read within some 100 ns of each
    /// other, so the scale is off by about 1 in a million.
    const LEARNING: Duration = Duration::from_millis(100);

    /// The longest time over which the rate is measured. If the clocks are read seldom, one of them may
    /// have stood still meanwhile, as while a machine sleeps.
    const LONGEST: Duration = Duration::from_millis(500);

    /// The scales of counters of 10 GHz to 1 MHz. A scale outside comes from a counter that was set back.
    const SCALES: RangeInclusive<u64> = (1 << 48) / 10_000..=1 << 48;

    /// A time of the last comparison that forces every reading to ask the operating system.
    const NEVER: u64 = 1 << 63;

    /// Returns the microseconds from the start of this clock to a reading of the counter.
    // counted = (counter - origin) * scale / 2^48. Relaxed: a stale scale is as good as the last reading.
    #[inline]
    fn counted(&self, counter: u64) -> u64 {
        let (ticks, scale) = (counter.wrapping_sub(self.origin), self.scale.load(Ordering::Relaxed));
        ((u128::from(ticks) * u128::from(scale)) >> 48) as u64
    }

    /// Returns the microseconds since the start by the operating system, and compares the counter with them.
    /// Several threads may do so at once.
    #[cold]
    fn compare(&self) -> u64 {
        if self.scale.load(Ordering::Relaxed) == 0 && !self.learn() {
            return micros(self.began.elapsed());
        }
        let (now, counter) = both();
        let elapsed = micros(now.duration_since(self.began));
        let counted = self.counted(counter);
        // correction = elapsed - counted; drift = correction - the correction before. All wrap, as does the
        // counter.
        let (correction, before) = (elapsed.wrapping_sub(counted), self.compared.load(Ordering::Relaxed));
        let drift = correction.wrapping_sub(self.correction.swap(correction, Ordering::Relaxed));
        // allowed = 1/1000 of the time since the last comparison + 1 ms. Beyond it the counter stood still,
        // began anew or changed its rate: learn it again.
        let allowed = counted.wrapping_sub(before) / 1_000 + 1_000;
        if before != Self::NEVER && drift.cast_signed().unsigned_abs() > allowed {
            self.compared.store(Self::NEVER, Ordering::Relaxed);
            self.scale.store(0, Ordering::Relaxed);
        } else {
            self.compared.store(counted, Ordering::Relaxed);
        }
        elapsed
    }

    /// Learns the rate of the counter if enough time has passed, and returns whether the rate is known.
    fn learn(&self) -> bool {
        // One thread learns at a time, so that no two scales are mixed.
        let Ok(mut baseline) = self.baseline.try_lock() else { return false };
        if self.scale.load(Ordering::Relaxed) > 0 {
            return true;
        }
        if !counter::is_steady() || baseline.0.elapsed() < Self::LEARNING {
            return false;
        }
        let (now, counter) = both();
        let watched = now.duration_since(baseline.0);
        // scale = microseconds * 2^48 / ticks = nanoseconds * 2^48 / (ticks * 1000).
        let ticks = u128::from(counter.wrapping_sub(baseline.1)) * 1_000;
        let scale = (watched.as_nanos() << 48).checked_div(ticks).and_then(|scale| u64::try_from(scale).ok());
        let scale = scale.filter(|scale| watched <= Self::LONGEST && Self::SCALES.contains(scale));
        match scale {
            Some(scale) => self.scale.store(scale, Ordering::Relaxed),
            None => *baseline = (now, counter),
        }
        scale.is_some()
    }
}

/// Reads the operating system's clock and the counter at one moment. A thread may be interrupted between
/// the two readings, so the quickest of three attempts counts.
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
        Self { start, began, origin, scale, compared, correction, baseline: Mutex::new((began, origin)) }
    }
}

/// Copies the clock. Both count from the same start.
impl Clone for MonotonicClock {
    fn clone(&self) -> Self {
        let copy = |from: &AtomicU64| AtomicU64::new(from.load(Ordering::Relaxed));
        let (scale, compared, correction) = (copy(&self.scale), copy(&self.compared), copy(&self.correction));
        Self { scale, compared, correction, baseline: Mutex::new(both()), ..*self }
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

    /// A counter that stood still, or began anew, while it was learnt, or later: what it says is not
    /// believed.
    #[test]
    fn a_counter_that_jumps_is_learnt_again() {
        let clock = MonotonicClock::default();
        if !counter::is_steady() {
            return;
        }
        let learnt = |clock: &MonotonicClock| {
            let began = Instant::now();
            while clock.scale.load(Ordering::Relaxed) == 0 && began.elapsed() < 8 * MonotonicClock::LEARNING {
                holds(clock, 1);
            }
            clock.scale.load(Ordering::Relaxed)
        };
        let expected = learnt(&clock);
        // It began anew, or was ahead by an hour, when the first look at it was taken.
        for off in [1 << 62, 1u64 << 42, (1u64 << 42).wrapping_neg()] {
            let mut clock = MonotonicClock::default();
            let baseline = clock.baseline.get_mut().unwrap();
            baseline.1 = baseline.1.wrapping_add(off);
            assert!(learnt(&clock).abs_diff(expected) < expected / 1_000, "{off}");
        }
        // Later, it is off by a second in one.
        clock.correction.fetch_add(1_000_000, Ordering::Relaxed);
        let counted = clock.counted(counter::read());
        clock.compared.store(counted.wrapping_sub(MonotonicClock::TRUSTED), Ordering::Relaxed);
        holds(&clock, 1);
        assert_eq!(clock.scale.load(Ordering::Relaxed), 0);
        assert!(learnt(&clock).abs_diff(expected) < expected / 1_000);
        holds(&clock, 20);
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

//! The clock that widens a counter of 32 bits and never wraps (feature `critical-section`).

use super::conversion::Conversion;
use super::section_cell::SectionCell;
use super::{Clock, Timestamp};

/// A clock over a hardware counter of 32 bits, which it widens to 64.
///
/// Choose it for a cycle counter, a timer or a tick of your own; on embassy choose `EmbassyClock`. A `static`
/// of it serves tasks and interrupts alike. For the time of day put it into a
/// [`SettableClock`](crate::SettableClock).
///
/// * The counter counts up and begins again at 0 after 2³² ticks. The clock MUST be read at least once in
///   that time: a period without a reading is lost, and the clock lags by it. A lag makes keys wait longer;
///   it admits no more.
/// * The clock is never ahead of the counter, and lags behind it by less than a microsecond. It converts the
///   whole count each time, so it does not drift.
/// * The counter is read within a critical section, so that an interrupt which reads the clock cannot come
///   between. The function MUST do no more than that.
///
/// | ticks per second | read at least once in |
/// |---|---|
/// | 32 768 | 131 072 s (36 hours) |
/// | 1 000 000 | 4 294 s (71 minutes) |
/// | 168 000 000 | 25 s |
///
/// A limiter that checks more often than that is enough. Otherwise let a timer read the clock.
///
/// ```
/// use traffik::{Clock, TickClock, Timestamp};
///
/// /// In firmware this reads a register, such as the cycle counter of a Cortex-M.
/// fn count() -> u32 {
///     32_768
/// }
///
/// static CLOCK: TickClock = TickClock::new(count, 32_768);
/// assert_eq!(CLOCK.now(), Timestamp::from_micros(1_000_000));
/// ```
#[derive(Debug)]
pub struct TickClock {
    read: fn() -> u32,
    micros: Conversion,
    /// The ticks up to the last reading. The lower half is the counter's.
    ticks: SectionCell<u64>,
}

impl TickClock {
    /// Creates a clock over the counter that `read` reads; it counts from when the counter was 0.
    ///
    /// At 0 ticks per second the clock stands still.
    #[must_use]
    pub const fn new(read: fn() -> u32, ticks_per_second: u32) -> Self {
        let micros = Conversion::new(ticks_per_second as u64, 1_000_000);
        Self { read, micros, ticks: SectionCell::new(0) }
    }
}

impl Clock for TickClock {
    #[inline]
    fn now(&self) -> Timestamp {
        // Read within the section: a reading from before could be older than the one that an interrupt has
        // stored since, and would count as a whole period more.
        let ticks = self.ticks.update(|before| {
            // ticks += (counter - lower half of ticks) mod 2³²
            let passed = (self.read)().wrapping_sub(before as u32);
            before.saturating_add(u64::from(passed))
        });
        Timestamp::from_micros(self.micros.floor(ticks))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;
    use crate::{Fixed, Gcra, Limiter, Rate};

    /// Declares a counter for each test, since they run at once.
    macro_rules! counter {
        ($counter:ident, $read:ident) => {
            static $counter: AtomicU32 = AtomicU32::new(0);

            fn $read() -> u32 {
                $counter.load(Ordering::Relaxed)
            }
        };
    }

    /// A key that is exhausted in the last second of each period is never locked: it waits for its second.
    #[test]
    fn a_counter_that_wraps_2000_times_locks_no_exhausted_key() {
        counter!(COUNTER, read);
        static CLOCK: TickClock = TickClock::new(read, 1_000_000);
        let limiter = Limiter::new(Gcra::new(Rate::per_second(1)), Fixed::<Gcra, _, 4>::new(&CLOCK, 1));
        let turn = |at: u32| {
            COUNTER.store(at, Ordering::Relaxed);
            limiter.check("key").unwrap().retry_after().map(|wait| wait.as_micros())
        };
        for wrap in 0..2_000u64 {
            let waits = [turn(u32::MAX - 299_999), turn(u32::MAX), turn(0), turn(699_999), turn(700_000)];
            assert_eq!(waits, [None, Some(700_001), Some(700_000), Some(1), None], "wrap {wrap}");
            assert_eq!(CLOCK.now().as_micros(), ((wrap + 1) << 32) + 700_000);
        }
    }

    /// No rounding adds up, however often the clock is read.
    #[test]
    fn a_clock_does_not_drift_and_is_never_ahead() {
        counter!(COUNTER, read);
        for rate in [1, 100, 32_768, 999_983, 168_000_000, 1_000_000_000] {
            COUNTER.store(0, Ordering::Relaxed);
            let clock = TickClock::new(read, rate);
            let mut ticks = 0u64;
            for step in (0..8_000u32).map(|it| it.wrapping_mul(2_654_435_761)) {
                ticks += u64::from(step);
                COUNTER.store(ticks as u32, Ordering::Relaxed);
                let exact = u128::from(ticks) * 1_000_000 / u128::from(rate);
                assert_eq!(u128::from(clock.now().as_micros()), exact, "{ticks} at {rate} Hz");
            }
        }
    }

    #[test]
    fn a_counter_at_rest_is_a_clock_at_rest() {
        let clock = TickClock::new(|| 7, 0);
        assert_eq!((clock.now(), clock.now()), (Timestamp::EPOCH, Timestamp::EPOCH));
    }

    /// Each reading moves the counter on, so any two that are stored in another order than they were read in
    /// would add a period. Threads stand for interrupts, and critical sections keep both out.
    #[test]
    fn a_reading_in_the_middle_of_another_adds_no_period() {
        const READERS: u64 = 4;
        const READINGS: u64 = 50_000;
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        static CLOCK: TickClock = TickClock::new(|| COUNTER.fetch_add(50_021, Ordering::Relaxed), 1_000_000);
        thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| {
                    let mut last = Timestamp::EPOCH;
                    for _ in 0..READINGS {
                        let now = CLOCK.now();
                        assert!(now >= last, "{now} after {last}");
                        last = now;
                    }
                });
            }
        });
        assert_eq!(CLOCK.now().as_micros(), READERS * READINGS * 50_021);
    }
}

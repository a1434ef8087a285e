//! The generation of a namespace on a server. Clearing starts another one, and the old items expire.
//!
//! The generation is stored in an item of its own, which is empty until a namespace is first cleared: that is
//! generation 0. The item expires in 2038, by which a server reports its time ([`LAST`](super::clock::LAST)).
//! Every storage that makes calls in the namespace reads it about every second, so a server that evicts items
//! evicts this one last. If the item is lost, a storage that knows the generation stores it again.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use traffik_core::Timestamp;

use crate::util::mutex::lock;

/// Age at which a cached generation is read again: a second divided by the golden ratio. So the readings of a
/// server's time are spread evenly within its seconds, however many there are.
const REFRESH_AFTER: Duration = Duration::from_millis(618);

/// The cached generation of one server.
#[derive(Default)]
pub(super) struct Generation(Mutex<Option<GenerationRecord>>);

/// A generation number and when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GenerationRecord {
    pub(super) number: u64,
    /// When the last request for it began.
    at: Instant,
}

impl GenerationRecord {
    /// Returns whether it is time to read the generation again.
    pub(super) fn is_stale(&self) -> bool {
        self.at.elapsed() >= REFRESH_AFTER
    }
}

impl Generation {
    /// Returns the cached record.
    pub(super) fn cached(&self) -> Option<GenerationRecord> {
        *lock(&self.0)
    }

    pub(super) fn number(&self) -> Option<u64> {
        self.cached().map(|known| known.number)
    }

    /// Claims the next read. Returns `false` if another task has claimed it since `old` was read; others keep
    /// using the cached number meanwhile.
    pub(super) fn begin_refresh(&self, old: GenerationRecord) -> bool {
        // The lock makes compare and replace one step, so one task alone refreshes.
        let mut known = lock(&self.0);
        let is_first = *known == Some(old);
        if is_first {
            *known = Some(GenerationRecord { at: Instant::now(), ..old });
        }
        is_first
    }

    pub(super) fn store(&self, number: u64) {
        *lock(&self.0) = Some(GenerationRecord { number, at: Instant::now() });
    }
}

/// Returns a generation that was never in use, also if the last one was lost: its number exceeds those of all
/// generations that began before now.
// next = max(old + 1, now): `now` exceeds every generation begun earlier, `old + 1` holds if the clock
// stepped back.
pub(super) fn next_generation(old: u64, now: Timestamp) -> u64 {
    old.saturating_add(1).max(now.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_asked_for_once_a_second_by_one() {
        let generation = Generation::default();
        assert_eq!(generation.cached(), None);
        generation.store(7);
        let known = generation.cached().unwrap();
        assert!(known.number == 7 && !known.is_stale());
        let old = GenerationRecord { at: Instant::now().checked_sub(REFRESH_AFTER).unwrap(), ..known };
        *lock(&generation.0) = Some(old);
        assert!(old.is_stale() && generation.begin_refresh(old) && !generation.begin_refresh(old));
        assert!(!generation.cached().unwrap().is_stale());
    }

    #[test]
    fn generations_grow_whatever_the_clock_says() {
        assert_eq!(next_generation(0, Timestamp::from_micros(5)), 5);
        assert_eq!(next_generation(9, Timestamp::from_micros(5)), 10);
    }
}

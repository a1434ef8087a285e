//! The generation of a namespace that is in use on a server: clearing begins another one, and leaves the old
//! items to expire.
//!
//! The generation is an item of its own, empty until a namespace has been cleared, which is generation 0.
//! It ends in 2038, by which a server tells its time ([`LAST`](super::clock::LAST)). Whoever uses the
//! namespace asks for it every second, so that a server that has to give something up gives it up last.
//! Should it be gone, those who know it put it back.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use traffik_core::Timestamp;

use crate::util::mutex::lock;

/// For how long a generation is believed in before it is asked for again: a second by the golden ratio, so
/// that the moments at which a server says its second lie spread out within its seconds, however many they
/// are.
const BELIEVED: Duration = Duration::from_millis(618);

#[derive(Default)]
pub(super) struct Generation(Mutex<Option<Known>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) number: u64,
    /// When it was asked for last, or is being asked for.
    at: Instant,
}

impl Known {
    /// Whether it is time to ask again.
    pub(super) fn is_old(&self) -> bool {
        self.at.elapsed() >= BELIEVED
    }
}

impl Generation {
    /// Returns what is known of it.
    pub(super) fn look(&self) -> Option<Known> {
        *lock(&self.0)
    }

    pub(super) fn number(&self) -> Option<u64> {
        self.look().map(|known| known.number)
    }

    /// Begins to ask for it again; false if somebody else has since this was known. Others go on meanwhile.
    pub(super) fn begin(&self, old: Known) -> bool {
        let mut known = lock(&self.0);
        let is_first = *known == Some(old);
        if is_first {
            *known = Some(Known { at: Instant::now(), ..old });
        }
        is_first
    }

    pub(super) fn learn(&self, number: u64) {
        *lock(&self.0) = Some(Known { number, at: Instant::now() });
    }
}

/// One that was never in use, also if the last one has been lost: later than all that began before now.
pub(super) fn next(old: u64, now: Timestamp) -> u64 {
    old.saturating_add(1).max(now.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_asked_for_once_a_second_by_one() {
        let generation = Generation::default();
        assert_eq!(generation.look(), None);
        generation.learn(7);
        let known = generation.look().unwrap();
        assert!(known.number == 7 && !known.is_old());
        let old = Known { at: Instant::now().checked_sub(BELIEVED).unwrap(), ..known };
        *lock(&generation.0) = Some(old);
        assert!(old.is_old() && generation.begin(old) && !generation.begin(old));
        assert!(!generation.look().unwrap().is_old());
    }

    #[test]
    fn generations_grow_whatever_the_clock_says() {
        assert_eq!(next(0, Timestamp::from_micros(5)), 5);
        assert_eq!(next(9, Timestamp::from_micros(5)), 10);
    }
}

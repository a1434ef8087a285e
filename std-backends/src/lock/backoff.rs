//! How long to wait between attempts, and the randomness that keeps attempts apart.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::layer::{self, Jitter};

/// Waits that double from one attempt to the next, each cut by up to half at random.
///
/// Those that failed together do not come back together; and none comes back sooner than half of what it was
/// told, so that doubling does take load off the store.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// About a round trip to a store near by: to ask sooner is to ask in vain.
    const FIRST: Duration = Duration::from_millis(1);
    /// The most that a lock lies idle although somebody waits for it.
    const LONGEST: Duration = Duration::from_millis(64);
    const WAITS: layer::Backoff =
        layer::Backoff::exponential(Self::FIRST, Self::LONGEST).jitter(Jitter::Equal);

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        self.attempts = self.attempts.saturating_add(1);
        Self::WAITS.after(self.attempts, random())
    }
}

/// A random number: the keyed hash of the standard library's maps, whose keys come from the operating system.
///
/// Every call hashes with another key of the same thread; the process is in it too, for a process that was forked
/// off has the same keys.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_at_most_half_is_cut_off() {
        for _ in 0..100 {
            let mut backoff = Backoff::default();
            for attempt in 0..40 {
                let whole = Duration::from_millis(1 << attempt.min(6));
                let wait = backoff.next();
                assert!(whole / 2 <= wait && wait < whole, "{attempt}: {wait:?}");
            }
        }
    }

    #[test]
    fn no_two_random_numbers_are_alike() {
        let mut numbers: Vec<_> = (0..1_000).map(|_| random()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 1_000);
    }
}

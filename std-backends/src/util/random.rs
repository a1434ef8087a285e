//! Random numbers: secrets of hashes, owners of locks, and the jitter that spreads out clients.

use std::sync::atomic::Ordering;
use std::time::Duration;

use portable_atomic::AtomicU64;

#[cfg(not(target_family = "wasm"))]
mod keyed;
#[cfg(all(target_family = "wasm", not(target_os = "unknown")))]
#[path = "random/unforked.rs"]
mod keyed;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
#[path = "random/script.rs"]
mod keyed;

pub(crate) use keyed::random;

/// A sequence of random numbers (SplitMix64), shared by its callers.
pub(crate) struct Random(AtomicU64);

impl Random {
    /// Returns the sequence of a seed.
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        // The constants are those of SplitMix64; an atomic add gives each caller its own step.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(GOLDEN, Ordering::Relaxed).wrapping_add(GOLDEN);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Returns a duration from zero to `most`, both included.
    pub(crate) fn up_to(&self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.next() % nanos.saturating_add(1))
    }
}

/// Begins at a random number, so that each process has its own sequence.
impl Default for Random {
    fn default() -> Self {
        Self::seeded(random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_random_numbers_are_alike() {
        let mut numbers: Vec<_> = (0..1_000).map(|_| random()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 1_000);
    }
}

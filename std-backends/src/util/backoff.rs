//! The waits between attempts, and the randomness that spreads attempts out.

use std::time::Duration;

/// The waits between attempts: constant, or growing, with a random part.
///
/// Choose [`exponential`](Self::exponential) unless you know how long a failure lasts. A
/// [`RetryBuilder`](crate::layer::RetryBuilder::backoff) takes it.
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::Backoff;
///
/// let ms = Duration::from_millis;
/// let waits = |backoff: Backoff| [1, 2, 3, 4, 99].map(|attempt| backoff.longest_after(attempt));
/// assert_eq!(waits(Backoff::constant(ms(10))), [10, 10, 10, 10, 10].map(ms));
/// assert_eq!(waits(Backoff::linear(ms(10), ms(50))), [10, 20, 30, 40, 50].map(ms));
/// assert_eq!(waits(Backoff::exponential(ms(10), ms(50))), [10, 20, 40, 50, 50].map(ms));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    growth: Growth,
    first: Duration,
    most: Duration,
    jitter: Jitter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    Constant,
    Linear,
    Exponential,
}

/// The random part of a wait. It keeps clients that failed together from trying again together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Jitter {
    None,
    Full,
    Half,
}

impl Backoff {
    /// Creates waits of the same length after each attempt, with full jitter: each is random, from zero to
    /// `wait`.
    #[must_use]
    pub const fn constant(wait: Duration) -> Self {
        Self { growth: Growth::Constant, first: wait, most: wait, jitter: Jitter::Full }
    }

    /// Creates waits of once, twice, three times `first` and so on, up to `most`, with full jitter.
    #[must_use]
    pub const fn linear(first: Duration, most: Duration) -> Self {
        Self { growth: Growth::Linear, first, most, jitter: Jitter::Full }
    }

    /// Creates waits of `first`, then twice as long after each attempt, up to `most`, with full jitter.
    #[must_use]
    pub const fn exponential(first: Duration, most: Duration) -> Self {
        Self { growth: Growth::Exponential, first, most, jitter: Jitter::Full }
    }

    /// Makes only half of each wait random. No attempt follows sooner than after the other half, so doubling
    /// takes load off the store for certain. Full jitter spreads attempts best, but lets some follow at once.
    #[must_use]
    pub const fn with_half_jitter(self) -> Self {
        Self { jitter: Jitter::Half, ..self }
    }

    /// Removes the random part. Clients that failed together then try again together.
    #[must_use]
    pub const fn without_jitter(self) -> Self {
        Self { jitter: Jitter::None, ..self }
    }

    /// Returns the longest wait after attempt number `attempts`, counted from 1: the wait without jitter.
    #[must_use]
    pub fn longest_after(&self, attempts: u32) -> Duration {
        // times = 1, or attempts, or 2^(attempts - 1); wait = min(most, first * times). Saturates, so it
        // never wraps.
        let before = attempts.saturating_sub(1);
        let times = match self.growth {
            Growth::Constant => 1,
            Growth::Linear => u64::from(before) + 1,
            Growth::Exponential => 1u64.checked_shl(before).unwrap_or(u64::MAX),
        };
        self.most.min(Duration::from_nanos(nanos(self.first).saturating_mul(times)))
    }

    /// Returns the wait after attempt number `attempts`, with `random` as its random part.
    pub(crate) fn after(&self, attempts: u32, random: u64) -> Duration {
        let whole = self.longest_after(attempts);
        // Full: random in 0..=whole. Half: whole / 2 + random in 0..whole / 2.
        match self.jitter {
            Jitter::None => whole,
            Jitter::Full => Duration::from_nanos(random % nanos(whole).saturating_add(1)),
            Jitter::Half => whole / 2 + Duration::from_nanos(random % nanos(whole / 2).max(1)),
        }
    }

    pub(crate) fn is_upside_down(&self) -> bool {
        self.first > self.most
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::random::random;

    #[test]
    fn jitter_stays_within_its_share_and_uses_it() {
        let whole = Duration::from_millis(100);
        let full = Backoff::constant(whole);
        for (backoff, least) in [(full, Duration::ZERO), (full.with_half_jitter(), whole / 2)] {
            let waits: Vec<_> = (0..1_000).map(|_| backoff.after(1, random())).collect();
            assert!(waits.iter().all(|wait| (least..=whole).contains(wait)), "{backoff:?}");
            let middle = least + (whole - least) / 2;
            let low = waits.iter().filter(|wait| **wait < middle).count();
            // Of a thousand fair coins fewer than 350 fall one way with a chance of 10⁻²¹.
            assert!((350..650).contains(&low), "{backoff:?}: {low}");
        }
        assert_eq!(full.without_jitter().after(7, random()), whole);
    }

    #[test]
    fn nothing_overflows() {
        for backoff in [
            Backoff::exponential(Duration::MAX, Duration::MAX),
            Backoff::linear(Duration::MAX, Duration::MAX),
            Backoff::exponential(Duration::ZERO, Duration::ZERO),
        ] {
            for backoff in [backoff, backoff.with_half_jitter(), backoff.without_jitter()] {
                for attempts in [0, 1, 63, 64, 65, u32::MAX] {
                    let _ = backoff.after(attempts, u64::MAX);
                }
            }
        }
    }
}

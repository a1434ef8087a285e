//! The keys that use the most of a limit.

use std::collections::BTreeMap;
use std::time::Duration;

use traffik_core::{Clock, Cost, Digest, Hit, Key, Strategy, Verdict};

use super::Memory;

/// A key that uses much of a limit.
///
/// [`Memory::top`] returns it.
///
/// ```
/// use traffik::{Limiter, Memory, TokenBucket, rate};
///
/// let limiter = Limiter::new(TokenBucket::new(rate!("10/min")), Memory::new(1_000));
/// limiter.check_n("alice", 7)?;
/// let top = limiter.storage().top(limiter.strategy(), 1);
/// assert_eq!(top[0].verdict.remaining(), 3);
/// assert!(limiter.storage().is_of(&top[0], "alice"));
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyUsage<V> {
    /// The keyed hash of the key; [`Memory::is_of`] compares it with a key you know.
    pub digest: Digest,
    /// The verdict on a hit of cost 0.
    pub verdict: V,
}

/// Returns the used part of a limit in units of 2⁻³², and the time until nothing is in use.
fn used(verdict: &impl Verdict) -> (u64, Duration) {
    let mut most = (0, Duration::ZERO);
    verdict.for_each(&mut |decision| {
        // part = (limit - remaining) / limit, in units of 2^-32.
        let taken = u64::from(decision.limit() - decision.remaining());
        let part = (taken << 32) / u64::from(decision.limit().max(1));
        most = most.max((part, decision.reset_after()));
    });
    most
}

impl<S: Strategy, C: Clock> Memory<S, C> {
    /// Returns the `k` keys that use the largest part of this limit, the most used first. Of equals, the
    /// one that takes longer to be fresh is first. With several limits in one, the most used part counts.
    ///
    /// Each has the fields `digest`, a keyed hash that [`is_of`](Self::is_of) compares with a key you know,
    /// and `verdict`, the verdict on a hit of cost 0.
    ///
    /// Scans every slot, and locks each part of the storage while it scans that part.
    pub fn top(&self, strategy: &S, k: usize) -> Vec<KeyUsage<S::Verdict>> {
        let (now, nothing) = (self.clock.now(), Hit::new(S::Cost::uniform(0)));
        let mut most = BTreeMap::new();
        for table in self.shards.tables() {
            for (head, state) in table.entries(now) {
                let (digest, verdict) = (head.digest(), strategy.peek(state, &nothing, now));
                // No two slots hold the same digest.
                most.insert((used(&verdict), digest.as_u64()), KeyUsage { digest, verdict });
                if most.len() > k {
                    most.pop_first();
                }
            }
        }
        most.into_values().rev().collect()
    }

    /// Returns whether an entry is that of this key, or of another key with the same digest.
    pub fn is_of<V, K: Key + ?Sized>(&self, entry: &KeyUsage<V>, key: &K) -> bool {
        // A slot keeps all bits of a digest but the lowest three.
        let kept = |digest: Digest| digest.as_u64() >> 3;
        kept(self.shards.digest(key)) == kept(entry.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffik_core::{FixedWindow, Limiter, ManualClock, Rate, TokenBucket};

    #[test]
    fn the_most_used_come_first() {
        let storage = Memory::builder().capacity(1_000).clock(ManualClock::default()).build();
        let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(100)), storage);
        (1..=50u32).for_each(|key| assert!(limiter.check_n(&key, key * 2).unwrap().is_allowed()));
        let top = limiter.storage().top(limiter.strategy(), 3);
        let remaining: Vec<_> = top.iter().map(|it| it.verdict.remaining()).collect();
        assert_eq!(remaining, [0, 2, 4]);
        for (entry, key) in top.iter().zip([50u32, 49, 48]) {
            assert!(limiter.storage().is_of(entry, &key) && !limiter.storage().is_of(entry, &(key - 1)));
        }
        assert_eq!(limiter.storage().top(limiter.strategy(), 100).len(), 50);
        assert!(limiter.storage().top(limiter.strategy(), 0).is_empty());
    }

    #[test]
    fn of_several_limits_the_most_used_counts() {
        let limit = (TokenBucket::new(Rate::per_minute(10)), FixedWindow::new(Rate::per_day(100)));
        let limiter = Limiter::new(limit, Memory::builder().clock(ManualClock::default()).build());
        assert!(limiter.check_n("few", (1, 99)).unwrap().is_allowed());
        assert!(limiter.check_n("many", (9, 9)).unwrap().is_allowed());
        let top = limiter.storage().top(&limit, 2);
        assert!(limiter.storage().is_of(&top[0], "few") && limiter.storage().is_of(&top[1], "many"));
    }
}

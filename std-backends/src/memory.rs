//! States in the memory of this process, shared by its threads.

use std::fmt::Debug;

use traffik_core::storage::{Counters, MultiKeyVerdict, WaitQueue};
use traffik_core::{Clock, Hit, Key, Op, Storage, StorageError, Strategy, Timestamp, debug_fields};

use crate::util::random::random;
use crate::{FifoQueue, MonotonicClock};

mod builder;
mod encoded;
mod hint;
mod names;
mod parts;
mod shards;
mod shared;
mod snapshot;
#[cfg(test)]
mod tests;
mod top;

pub use builder::MemoryBuilder;
pub use names::DeniedKey;
use shards::Shards;
pub use shared::{AnyOf, SharedMemory};
pub use snapshot::SnapshotError;
pub use top::KeyUsage;

/// A storage for a fixed number of keys in this process: reserved once, never grown.
///
/// Choose it for limits within one process. [`SharedMemory`] serves several strategies from one capacity; a
/// store such as Redis serves several processes.
///
/// A slot stores no key, only 61 bits of a keyed hash of it. Two keys share a hash with a chance of 2⁻⁶¹;
/// among a million keys, some two do with a chance of one in 4.6 million. Two such keys share one limit, with
/// no other effect. The hash has a random secret, so nobody can choose keys that collide. Names of keys are
/// stored only by [`track_denied_keys`](MemoryBuilder::track_denied_keys).
///
/// The hash of a key selects up to 32 slots for its state. If all of them are in use, the storage gives up
/// the key among them that would be fresh soonest, and counts it; or it refuses the new key. See
/// [`WhenFull`](traffik_core::storage::WhenFull) and [`Memory::counters`].
///
/// ```
/// use traffik::storage::WhenFull;
/// use traffik::{CoarseClock, Gcra, Limiter, Memory, Rate};
///
/// let storage = Memory::builder().capacity(1_000).when_full(WhenFull::Refuse).clock(CoarseClock::default()).build();
/// let limiter = Limiter::new(Gcra::new(Rate::per_second(5)), storage);
/// assert!(limiter.check(&std::net::Ipv4Addr::LOCALHOST)?.is_allowed());
/// assert_eq!(limiter.storage().len(), 1);
///
/// // Across a restart of the program.
/// let bytes = limiter.storage().snapshot();
/// let storage = Memory::<Gcra>::builder().restore(&bytes)?;
/// assert_eq!(storage.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Memory<S: Strategy, C = MonotonicClock> {
    shards: Shards<S::State>,
    clock: C,
    wait_queue: FifoQueue,
}

debug_fields!([S: Strategy, C: Debug] Memory<S, C>: shards = |it| it.shards.count(), clock);

impl<S: Strategy> Memory<S> {
    /// Creates a storage for `capacity` keys in use at a time, on a [`MonotonicClock`]. When full, it gives
    /// up keys.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::builder().capacity(capacity).build()
    }

    /// Creates a builder. Defaults to 65 536 keys on a [`MonotonicClock`].
    pub fn builder() -> MemoryBuilder<S> {
        MemoryBuilder::new()
    }
}

impl<S: Strategy, C> MemoryBuilder<S, C> {
    /// Builds the storage. It reserves addresses now, and takes the memory of each part when the first key of
    /// that part arrives.
    ///
    /// # Panics
    ///
    /// Panics or aborts as `Vec` does if it cannot reserve that many addresses.
    #[must_use]
    pub fn build(self) -> Memory<S, C> {
        self.build_with(random())
    }

    pub(super) fn build_with(self, secret: u64) -> Memory<S, C> {
        let (shards, clock, wait_queue) = self.parts(secret);
        Memory { shards, clock, wait_queue }
    }
}

impl<S: Strategy, C: Clock> Memory<S, C> {
    /// Returns the clock.
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// Returns the number of keys in use. Scans every slot.
    pub fn len(&self) -> usize {
        self.shards.len(self.clock.now())
    }

    /// Returns whether no key is in use. Scans every slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how often the storage lacked room: the `u64` fields `evictions`, keys that were given up
    /// before they were fresh, and `refusals`, new keys that were refused.
    pub fn counters(&self) -> Counters {
        self.shards.counters()
    }

    /// Returns the `k` keys that were denied most since the storage was built or cleared, the most denied
    /// first. It needs [`track_denied_keys`](MemoryBuilder::track_denied_keys).
    ///
    /// Each has the fields `name`, a `String` of at most 80 bytes; `denials`, a `u64`, an upper bound of
    /// its denials; `at_least`, a `u64`, a lower bound; and `digest`, the keyed hash of the key.
    pub fn denied(&self, k: usize) -> Vec<DeniedKey> {
        self.shards.denied(k)
    }

    /// Forgets every key and every name.
    pub fn clear(&self) {
        self.shards.clear();
    }
}

impl<S: Strategy, C: Clock> Storage<S> for Memory<S, C> {
    #[inline]
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    #[inline(always)]
    fn apply<K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        let digest = self.shards.digest(key);
        self.shards.prefetch(digest);
        self.shards.apply(strategy, key, digest, op, now, &self.clock)
    }

    /// Reads the clock while the state is on its way from memory.
    #[inline(always)]
    fn apply_now<K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        op: &Op<S>,
    ) -> Result<S::Verdict, StorageError> {
        let digest = self.shards.digest(key);
        self.shards.prefetch(digest);
        self.shards.apply(strategy, key, digest, op, self.clock.now(), &self.clock)
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        Ok(self.shards.load(self.shards.digest(key), self.clock.now()))
    }

    /// Looks up a few keys ahead, so that the processor fetches their states at the same time.
    fn check_many<K: Key>(
        &self,
        strategy: &S,
        keys: &[K],
        hit: &Hit<S::Cost>,
        now: Timestamp,
        answer: impl FnMut(&K, Result<S::Verdict, StorageError>),
    ) {
        self.shards.check_many(
            strategy,
            keys,
            |key| self.shards.digest(key),
            hit,
            (now, &self.clock),
            answer,
        );
    }

    /// Checks in one step: nobody sees one of the keys charged before all are.
    fn check_together<K: Key + ?Sized, const N: usize>(
        &self,
        strategy: &S,
        keys: [&K; N],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
        let digests = keys.map(|key| self.shards.digest(key));
        self.shards.check_together(strategy, keys, digests, hit, (now, &self.clock))
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.wait_queue)
    }
}

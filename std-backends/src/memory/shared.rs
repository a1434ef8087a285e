//! One memory for limits of several strategies.

use std::fmt::Debug;

use traffik_core::storage::{Counters, MultiKeyVerdict, WaitQueue};
use traffik_core::strategy::{InlineState, State};
use traffik_core::{Clock, Digest, Hit, Key, Op, Storage, StorageError, Strategy, Timestamp, debug_fields};

use super::builder::MemoryBuilder;
use super::encoded::{EncodedStrategy, form, read};
use super::names::DeniedKey;
use super::shards::Shards;
use super::snapshot::{SnapshotError, restore, snapshot};
use crate::util::random::random;
use crate::{FifoQueue, MonotonicClock};

/// One [`Memory`](crate::Memory) for limits of several strategies: one capacity, and one order in which keys
/// are given up.
///
/// Choose it for many throttles, none of which is to have a room of its own; a `Memory` decides somewhat
/// faster, and lists its most used keys.
///
/// States are kept in their encoded form, of at most `ROOM` bytes each. The default of 50 makes a slot of 64
/// bytes, and holds every window, bucket, queue, GCRA, rollover, adaptive and cost-based limit, by tier and
/// priority too, each but a cost-based one by the time of day, and any two of windows and buckets in one.
/// Strict windows, logs and limits that are shared among members or regions need [more](MemoryBuilder::room):
/// a limit whose states do not fit does not compile.
///
/// ```compile_fail
/// use traffik::SharedMemory;
/// use traffik::{Limiter, SlidingLog, rate};
///
/// let log = SlidingLog::<100>::new(rate!("100/min")).unwrap();
/// let limiter = Limiter::new(log, SharedMemory::new(1_000)); // its states take up to 1 217 bytes
/// # let _ = limiter.check("alice");
/// ```
///
/// Throttles keep their states apart by their names. Of limiters, those whose states have the same form share
/// the state of a key, as they do on Redis: all buckets and GCRA, for instance. So give each of them keys of
/// its own, such as `("uploads", user)`. A waiter in `until_ready` waits for all who wait for the same
/// key.
///
/// ```
/// use std::sync::Arc;
///
/// use traffik::SharedMemory;
/// use traffik::{FixedWindow, Limiter, TokenBucket, rate};
///
/// let memory = Arc::new(SharedMemory::new(100_000));
/// let logins = Limiter::new(FixedWindow::new(rate!("5/min")), Arc::clone(&memory));
/// let pages = Limiter::new(TokenBucket::new(rate!("100/s")), Arc::clone(&memory));
/// assert!(logins.check(&("logins", "alice"))?.is_allowed());
/// assert!(pages.check(&("pages", "alice"))?.is_allowed());
/// assert_eq!(memory.len(), 2);
/// # Ok::<(), traffik::StorageError>(())
/// ```
pub struct SharedMemory<const ROOM: usize = 50, C = MonotonicClock> {
    shards: Shards<InlineState<ROOM>>,
    clock: C,
    wait_queue: FifoQueue,
}

debug_fields!([const ROOM: usize, C: Debug] SharedMemory<ROOM, C>: shards = |it| it.shards.count(), clock);

/// Stands in a builder for all strategies with states of at most `ROOM` bytes.
#[derive(Debug)]
pub struct AnyOf<const ROOM: usize>(());

impl SharedMemory {
    /// Room for `capacity` keys in use at a time, on a monotonic clock; a full storage gives keys up.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::builder().capacity(capacity).build_shared()
    }

    /// Room for 65 536 keys with states of at most 50 bytes, on a monotonic clock, unless set otherwise.
    pub fn builder() -> MemoryBuilder<AnyOf<50>> {
        MemoryBuilder::new()
    }
}

impl<const ROOM: usize, C> MemoryBuilder<AnyOf<ROOM>, C> {
    /// Sets the length of the longest encoded state that there is room for, in bytes. A slot takes 14 more,
    /// rounded up to a multiple of four. Defaults to 50.
    pub fn room<const BYTES: usize>(self) -> MemoryBuilder<AnyOf<BYTES>, C> {
        self.of()
    }

    /// Reserves room for the storage, as for a [`Memory`](crate::Memory).
    #[must_use]
    pub fn build_shared(self) -> SharedMemory<ROOM, C> {
        self.shared_with(random())
    }

    fn shared_with(self, secret: u64) -> SharedMemory<ROOM, C> {
        let (shards, clock, wait_queue) = self.parts(secret);
        SharedMemory { shards, clock, wait_queue }
    }

    /// Makes a storage that remembers a [snapshot](SharedMemory::snapshot) of one with the same room, as a
    /// `Memory` is restored.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are no snapshot, one of another version, or damaged; the error says which.
    pub fn restore_shared(self, bytes: &[u8]) -> Result<SharedMemory<ROOM, C>, SnapshotError>
    where
        C: Clock,
    {
        restore(bytes, |secret| self.shared_with(secret), |storage| (&storage.shards, storage.clock.now()))
    }
}

impl<const ROOM: usize, C: Clock> SharedMemory<ROOM, C> {
    /// The clock it goes by.
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// Keys in use, of all limits. Looks at every slot.
    pub fn len(&self) -> usize {
        self.shards.len(self.clock.now())
    }

    /// Whether no key is in use. Looks at every slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The work done for want of room: the `u64` fields `evictions`, keys given up before they were fresh,
    /// and `refusals`, new keys refused.
    pub fn counters(&self) -> Counters {
        self.shards.counters()
    }

    /// The `k` keys that were denied most, of all limits, as of a [`Memory`](crate::Memory::denied).
    pub fn denied(&self, k: usize) -> Vec<DeniedKey> {
        self.shards.denied(k)
    }

    /// Forgets every key of every limit, and every name.
    pub fn clear(&self) {
        self.shards.clear();
    }

    /// Everything that is in use, as bytes for [`MemoryBuilder::restore_shared`], which hold the secret of
    /// the keys' hashes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot(&self.shards, self.clock.now())
    }

    /// The digest of a key under a limit with states of this form, which have to fit.
    #[inline(always)]
    fn digest<S: Strategy, K: Key + ?Sized>(&self, key: &K) -> Digest {
        const {
            assert!(
                S::State::MAX_LEN <= ROOM,
                "the states of this strategy do not fit: give the memory more `room`, or the limit a `Memory`"
            );
            assert!(ROOM <= u16::MAX as usize, "a state has room of 65535 bytes at most");
        }
        self.shards.digest(key).tweaked(form::<S::State, ROOM>())
    }
}

impl<S: Strategy, const ROOM: usize, C: Clock> Storage<S> for SharedMemory<ROOM, C> {
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
        let digest = self.digest::<S, K>(key);
        self.shards.prefetch(digest);
        self.shards.apply(
            &EncodedStrategy(strategy.clone()),
            key,
            digest,
            &EncodedStrategy::op(op),
            now,
            &self.clock,
        )
    }

    /// Reads the clock while the state is on its way from memory.
    #[inline(always)]
    fn apply_now<K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        op: &Op<S>,
    ) -> Result<S::Verdict, StorageError> {
        let digest = self.digest::<S, K>(key);
        self.shards.prefetch(digest);
        self.shards.apply(
            &EncodedStrategy(strategy.clone()),
            key,
            digest,
            &EncodedStrategy::op(op),
            self.clock.now(),
            &self.clock,
        )
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        Ok(read(&self.shards.load(self.digest::<S, K>(key), self.clock.now())))
    }

    /// Looks up a few keys ahead, so that the processor fetches what they need from memory at the same time.
    fn check_many<K: Key>(
        &self,
        strategy: &S,
        keys: &[K],
        hit: &Hit<S::Cost>,
        now: Timestamp,
        answer: impl FnMut(&K, Result<S::Verdict, StorageError>),
    ) {
        let digest = |key: &K| self.digest::<S, K>(key);
        self.shards.check_many(
            &EncodedStrategy(strategy.clone()),
            keys,
            digest,
            hit,
            (now, &self.clock),
            answer,
        );
    }

    /// In one step: no one sees one of the keys charged before all are.
    fn check_together<K: Key + ?Sized, const N: usize>(
        &self,
        strategy: &S,
        keys: [&K; N],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
        let digests = keys.map(|key| self.digest::<S, K>(key));
        self.shards.check_together(&EncodedStrategy(strategy.clone()), keys, digests, hit, (now, &self.clock))
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.wait_queue)
    }
}

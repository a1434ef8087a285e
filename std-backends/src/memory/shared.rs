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

/// A [`Memory`](crate::Memory) for limits of several strategies: one capacity, and one order in which keys
/// are given up.
///
/// Choose it for many throttles that need no capacity of their own. A `Memory` decides somewhat faster, and
/// its [`top`](crate::Memory::top) lists the most used keys.
///
/// It keeps states in their encoded form, of at most `ROOM` bytes each. The default of 50 makes a slot of
/// 64 bytes. It holds every window, bucket, queue, GCRA, rollover, adaptive and cost-based limit, also by
/// tier and priority; each of them but a cost-based one by the time of day; and any pair of windows and
/// buckets. Strict windows, logs, and limits shared among members or regions need
/// [more](MemoryBuilder::room). A limit whose states do not fit does not compile:
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
/// Throttles separate their states by their names. Limiters whose states have the same form share the state
/// of a key, as on Redis: all buckets and GCRA, for instance. Give each of them its own keys, such as
/// `("uploads", user)`. In `until_ready`, the waiters for one key form one queue, whatever their limits.
///
/// ```
/// use std::sync::Arc;
/// use traffik::{FixedWindow, Limiter, SharedMemory, TokenBucket, rate};
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

/// A placeholder in a builder for all strategies with states of at most `ROOM` bytes.
///
/// ```
/// use traffik::{AnyOf, MemoryBuilder, SharedMemory};
///
/// let builder: MemoryBuilder<AnyOf<100>> = SharedMemory::builder().room::<100>();
/// assert!(builder.build_shared().is_empty());
/// ```
#[derive(Debug)]
pub struct AnyOf<const ROOM: usize>(());

impl SharedMemory {
    /// Creates a storage for `capacity` keys in use at a time, on a [`MonotonicClock`]. When full, it gives
    /// up keys.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::builder().capacity(capacity).build_shared()
    }

    /// Creates a builder. Defaults to 65 536 keys with states of at most 50 bytes, on a [`MonotonicClock`].
    pub fn builder() -> MemoryBuilder<AnyOf<50>> {
        MemoryBuilder::new()
    }
}

impl<const ROOM: usize, C> MemoryBuilder<AnyOf<ROOM>, C> {
    /// Sets the length of the longest encoded state, in bytes, at most 65 535. Defaults to 50. A slot takes
    /// 14 bytes more, rounded up to a multiple of four.
    pub fn room<const BYTES: usize>(self) -> MemoryBuilder<AnyOf<BYTES>, C> {
        self.of()
    }

    /// Builds the storage. It reserves room as [`MemoryBuilder::build`] does.
    #[must_use]
    pub fn build_shared(self) -> SharedMemory<ROOM, C> {
        self.shared_with(random())
    }

    fn shared_with(self, secret: u64) -> SharedMemory<ROOM, C> {
        let (shards, clock, wait_queue) = self.parts(secret);
        SharedMemory { shards, clock, wait_queue }
    }

    /// Builds a storage that remembers a [snapshot](SharedMemory::snapshot) whose states fit this room, as
    /// [`MemoryBuilder::restore`] does.
    ///
    /// # Errors
    ///
    /// Fails with [`SnapshotError`] if the bytes are no snapshot, have another version, are damaged, or have
    /// a state that is longer than this room.
    pub fn restore_shared(self, bytes: &[u8]) -> Result<SharedMemory<ROOM, C>, SnapshotError>
    where
        C: Clock,
    {
        restore(bytes, |secret| self.shared_with(secret), |storage| (&storage.shards, storage.clock.now()))
    }
}

impl<const ROOM: usize, C: Clock> SharedMemory<ROOM, C> {
    /// Returns the clock.
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// Returns the number of keys in use, of all limits. Scans every slot.
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

    /// Returns the `k` keys that were denied most, of all limits, as
    /// [`Memory::denied`](crate::Memory::denied) does.
    pub fn denied(&self, k: usize) -> Vec<DeniedKey> {
        self.shards.denied(k)
    }

    /// Forgets every key of every limit, and every name.
    pub fn clear(&self) {
        self.shards.clear();
    }

    /// Returns all states in use, as bytes for [`MemoryBuilder::restore_shared`]. They contain the secret
    /// of the keys' hashes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot(&self.shards, self.clock.now())
    }

    /// Returns the digest of a key for states of this form. Fails to compile if the states do not fit.
    #[inline(always)]
    fn digest<S: Strategy, K: Key + ?Sized>(&self, key: &K) -> Digest {
        const {
            assert!(
                S::State::MAX_LEN <= ROOM,
                "the states of this strategy do not fit; give the memory more `room`, or the limit a `Memory`"
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

    /// Looks up a few keys ahead, so that the processor fetches their states at the same time.
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

    /// Checks in one step: nobody sees one of the keys charged before all are.
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

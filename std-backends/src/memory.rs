//! States in the memory of this process, shared by its threads.

use std::collections::hash_map::RandomState;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher};
use std::marker::PhantomData;
use std::ptr;
use std::sync::LazyLock;

use traffik_core::storage::{
    Counters, Head, Slot, Table, Tables, Together, WaitQueue, WhenFull, Wide, check_together, home,
};
use traffik_core::{
    Clock, Digest, ErrorKind, Hit, Key, Op, Seed, Storage, StorageError, Strategy, Timestamp, Verdict,
    debug_fields,
};

use crate::{FifoQueue, MonotonicClock};

mod hint;
mod names;
mod parts;
mod shard;
mod snapshot;
#[cfg(test)]
mod tests;
mod top;

use crate::util::setters::setters;
use crate::util::spin_lock::Locked;
pub use names::Denied;
use names::Names;
use parts::{Part, cut};
use shard::{Shard, Slots};
pub use snapshot::SnapshotError;
pub use top::Used;

/// Room for a fixed number of keys in this process: allocated once, never grown.
///
/// No key is stored, only 61 bits of a keyed hash of it, so two keys are taken for one with a chance of 2⁻⁶¹:
/// about one in four million for any two among a million keys. They would then share one limit, and nothing
/// worse. The hash is keyed at random, so no one can choose keys that meet.
///
/// A full storage gives up the key that would be fresh soonest and counts it, or refuses new keys; see
/// [`WhenFull`] and [`Memory::counters`].
///
/// ```
/// use traffik_backends::{CoarseClock, Memory};
/// use traffik_core::storage::WhenFull;
/// use traffik_core::{Gcra, Limiter, Rate};
///
/// let storage = Memory::builder().capacity(1_000).when_full(WhenFull::Refuse).clock(CoarseClock::default()).build();
/// let limiter = Limiter::new(Gcra::new(Rate::per_second(5)), storage);
/// assert!(limiter.check(&std::net::Ipv4Addr::LOCALHOST)?.is_allowed());
/// assert_eq!(limiter.storage().len(), 1);
///
/// // Over a restart of the program.
/// let bytes = limiter.storage().snapshot();
/// let storage = Memory::<Gcra>::builder().restore(&bytes)?;
/// assert_eq!(storage.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Memory<S: Strategy, C = MonotonicClock> {
    shards: Box<[Shard<S::State>]>,
    /// Where the slots of all shards lie, one shard after another.
    slots: usize,
    /// How many slots a shard has.
    length: usize,
    /// What the seed was made of.
    secret: u64,
    seed: Seed,
    clock: C,
    names: Option<Names>,
    wait_queue: FifoQueue,
}

debug_fields!([S: Strategy, C: Debug] Memory<S, C>: shards = |it| it.shards.len(), clock);

impl<S: Strategy> Memory<S> {
    /// Room for `capacity` keys in use at a time, on a monotonic clock; a full storage gives keys up.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::builder().capacity(capacity).build()
    }

    /// Room for 65 536 keys on a monotonic clock, until told otherwise.
    pub fn builder() -> MemoryBuilder<S> {
        let (when_full, clock) = (WhenFull::default(), MonotonicClock::default());
        let max_waiting = usize::MAX;
        MemoryBuilder { capacity: 1 << 16, when_full, clock, names: 0, max_waiting, strategy: PhantomData }
    }
}

/// What a [`Memory`] is to be like.
#[derive(Debug)]
#[must_use]
pub struct MemoryBuilder<S, C = MonotonicClock> {
    capacity: usize,
    when_full: WhenFull,
    clock: C,
    names: usize,
    max_waiting: usize,
    strategy: PhantomData<fn() -> S>,
}

impl<S: Strategy, C> MemoryBuilder<S, C> {
    setters! {
        /// Room for this many keys in use at a time.
        pub const fn capacity(capacity: usize) => capacity = capacity;

        /// Sets what gives way when there is no room.
        pub const fn when_full(when_full: WhenFull) => when_full = when_full;

        /// Remembers the names of about as many keys, those that are denied most, for [`Memory::denied`].
        /// None if not told otherwise: then nothing that a client wrote is kept.
        pub const fn names(most: usize) => names = most;

        /// The most that may wait for each key in [`until_ready`](traffik_core::Limiter::until_ready):
        /// whoever comes then is refused at once, with the time it would have taken. Defaults to no bound.
        pub const fn max_waiting(max: usize) => max_waiting = max;
    }

    /// Which clock to use.
    pub fn clock<D: Clock>(self, clock: D) -> MemoryBuilder<S, D> {
        let Self { capacity, when_full, names, max_waiting, strategy, .. } = self;
        MemoryBuilder { capacity, when_full, clock, names, max_waiting, strategy }
    }

    /// Allocates the storage, all of it; ends as a `Vec` does if there is not that much memory.
    #[must_use]
    pub fn build(self) -> Memory<S, C> {
        self.build_with(RandomState::new().build_hasher().finish())
    }

    fn build_with(self, secret: u64) -> Memory<S, C> {
        let (shards, sets) = shape(self.capacity);
        let length = sets * SET;
        let parts = cut::<Slot<S::State>>(shards, length);
        let slots = parts.first().map_or(0, |part| part.as_ref().as_ptr().addr());
        let shard = |part| Shard::new(Table::new(part, self.when_full));
        let shards = parts.into_iter().map(shard).collect();
        let names = (self.names > 0).then(|| Names::new(self.names));
        let wait_queue = FifoQueue::new().with_max(self.max_waiting);
        let (seed, clock) = (Seed::new(secret), self.clock);
        Memory { shards, slots, length, secret, seed, clock, names, wait_queue }
    }
}

/// Slots in a set of the table.
const SET: usize = <Wide as Head>::WAYS;

/// Asked once: Linux reads several files for it.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// How many shards, and sets in each, hold `capacity` keys.
///
/// Eight slots for every five keys: of keys that fall at random into sets of 16 that spill into the next one,
/// fewer than 0.1 % then find both full.
fn shape(capacity: usize) -> (usize, usize) {
    // So that threads seldom meet.
    let most = (64 * *CORES).next_power_of_two();
    let sets = capacity.saturating_mul(8).div_ceil(5 * SET).max(1);
    let shards = (sets / 4).next_power_of_two().clamp(1, most);
    (shards, sets.div_ceil(shards))
}

impl<S: Strategy, C: Clock> Memory<S, C> {
    /// The clock it goes by.
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// Keys in use. Looks at every slot.
    pub fn len(&self) -> usize {
        let now = self.clock.now();
        self.shards.iter().map(|shard| shard.lock().len(now)).sum()
    }

    /// Whether no key is in use. Looks at every slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The work done for want of room: the `u64` fields `evictions`, keys given up before they were fresh,
    /// and `refusals`, new keys refused.
    pub fn counters(&self) -> Counters {
        let mut all = Counters::default();
        self.shards.iter().for_each(|shard| all += shard.lock().counters());
        all
    }

    /// The `k` keys that were denied most since the storage was built or cleared, by their
    /// [names](MemoryBuilder::names), the most denied first.
    ///
    /// Each has the fields `name`, a `String` of at most 80 bytes; `denials`, a `u64`, the most denials it
    /// can have had; `at_least`, a `u64`, the fewest; and `digest`, the keyed hash of the key.
    pub fn denied(&self, k: usize) -> Vec<Denied> {
        self.names.as_ref().map(|names| names.top(k)).unwrap_or_default()
    }

    /// Forgets every key, and every name.
    pub fn clear(&self) {
        self.shards.iter().for_each(|shard| shard.lock().clear());
        self.names.iter().for_each(Names::clear);
    }

    #[expect(clippy::indexing_slicing, reason = "there is at least one shard, and they are a power of two")]
    #[inline]
    fn shard(&self, digest: Digest) -> &Shard<S::State> {
        &self.shards[self.place(digest)]
    }

    /// Which shard a digest belongs to.
    #[inline]
    fn place(&self, digest: Digest) -> usize {
        // The table takes the upper half of the digest, and does not keep the lowest three bits.
        (digest.as_u64() >> 3) as usize & (self.shards.len() - 1)
    }

    #[inline(always)]
    fn apply_digest<K: Key + ?Sized>(
        &self,
        limit: &S,
        key: &K,
        digest: Digest,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        if let (Op::Check(hit), None) = (op, &self.names) {
            let mut table = self.shard(digest).lock();
            if let Some(verdict) = table.check_near(limit, digest, home(digest, self.length), hit, now) {
                return Ok(verdict);
            }
        }
        // Into a place of its own, so that above no figure is written down that no one reads.
        let (op, mut answer) = (*op, Err(NOT_ASKED));
        self.apply_anywhere(limit, key, digest, &op, now, &mut answer);
        answer
    }

    /// What takes longer, apart from what is done most often.
    #[inline(never)]
    fn apply_anywhere<K: Key + ?Sized>(
        &self,
        limit: &S,
        key: &K,
        digest: Digest,
        op: &Op<S>,
        now: Timestamp,
        answer: &mut Result<S::Verdict, StorageError>,
    ) {
        *answer = self.shard(digest).lock().apply(limit, digest, op, now);
        if let (Op::Check(_), Ok(verdict)) = (op, answer) {
            self.note(key, digest, verdict);
        }
    }

    /// Notes the name of a key that was denied, if names are kept.
    fn note<K: Key + ?Sized>(&self, key: &K, digest: Digest, verdict: &S::Verdict) {
        if let Some(names) = &self.names
            && !verdict.outcome().is_allowed()
        {
            names.note(digest, key);
        }
    }

    /// Has the state of a key fetched from memory, without waiting for it and without a lock: a processor
    /// takes no lock before the state of the key before has come, but fetches ahead.
    #[inline(always)]
    fn prefetch(&self, digest: Digest) {
        let slot = self.place(digest) * self.length + home(digest, self.length);
        let address = self.slots.wrapping_add(slot * size_of::<Slot<S::State>>());
        // It may go on in the next line.
        hint::prefetch(ptr::without_provenance::<u8>(address));
        hint::prefetch(ptr::without_provenance::<u8>(address.wrapping_add(size_of::<Slot<S::State>>() - 1)));
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
        limit: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        let digest = self.seed.digest(key);
        self.prefetch(digest);
        self.apply_digest(limit, key, digest, op, now)
    }

    /// Reads the clock while the state is on its way from memory.
    #[inline(always)]
    fn apply_now<K: Key + ?Sized>(&self, limit: &S, key: &K, op: &Op<S>) -> Result<S::Verdict, StorageError> {
        let digest = self.seed.digest(key);
        self.prefetch(digest);
        self.apply_digest(limit, key, digest, op, self.clock.now())
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        let digest = self.seed.digest(key);
        Ok(self.shard(digest).lock().load(digest, self.clock.now()))
    }

    /// Looks up a few keys ahead, so that the processor fetches what they need from memory at the same time.
    fn check_many<K: Key>(
        &self,
        limit: &S,
        keys: &[K],
        hit: &Hit<S::Cost>,
        now: Timestamp,
        mut answer: impl FnMut(&K, Result<S::Verdict, StorageError>),
    ) {
        /// About as many as a core can fetch at a time.
        const AHEAD: usize = 16;
        let op = Op::Check(*hit);
        for keys in keys.chunks(AHEAD) {
            let mut digests = [Digest::default(); AHEAD];
            for (digest, key) in digests.iter_mut().zip(keys) {
                *digest = self.seed.digest(key);
                self.prefetch(*digest);
            }
            for (key, digest) in keys.iter().zip(digests) {
                answer(key, self.apply_digest(limit, key, digest, &op, now));
            }
        }
    }

    /// In one step: no one sees one of the keys charged before all are.
    fn check_together<K: Key + ?Sized, const N: usize>(
        &self,
        limit: &S,
        keys: [&K; N],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<Together<S::Verdict, N>, StorageError> {
        let digests = keys.map(|key| self.seed.digest(key));
        let mut places = digests.map(|digest| self.place(digest));
        // Everyone locks in the order of the shards, so no two wait for each other.
        places.sort_unstable();
        let mut before = None;
        let locked = places.map(|place| {
            let is_new = before.replace(place) != Some(place);
            let shard = self.shards.get(place).filter(|_| is_new)?;
            Some((place, shard.lock()))
        });
        let together = check_together(&mut Shards { locked, storage: self }, limit, digests, hit, now)?;
        for ((key, digest), verdict) in keys.into_iter().zip(digests).zip(&together.verdicts) {
            self.note(key, digest, verdict);
        }
        Ok(together)
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.wait_queue)
    }
}

/// Stands where an answer will be.
const NOT_ASKED: StorageError = StorageError::new(ErrorKind::Other, "the table was not asked");

/// Some shards of a storage, each locked once.
struct Shards<'a, S: Strategy, C, const N: usize> {
    locked: [Option<(usize, Locked<'a, Slots<S::State>>)>; N],
    storage: &'a Memory<S, C>,
}

impl<S: Strategy, C: Clock, const N: usize> Tables<S::State, Part<Slot<S::State>>, Wide>
    for Shards<'_, S, C, N>
{
    fn holding(&mut self, digest: Digest) -> Result<&mut Slots<S::State>, StorageError> {
        let place = self.storage.place(digest);
        let found = self.locked.iter_mut().flatten().find(|(locked, _)| *locked == place);
        found.map(|(_, table)| &mut **table).ok_or(NOT_LOCKED)
    }
}

/// Cannot be: all shards of the keys are locked before.
const NOT_LOCKED: StorageError = StorageError::new(ErrorKind::Other, "a shard was not locked");

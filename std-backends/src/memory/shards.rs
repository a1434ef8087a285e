//! The keys of a storage in shards, each under its own lock, with any clock.

use std::ptr;
use std::sync::LazyLock;

use traffik_core::storage::{
    Counters, MultiKeyVerdict, Slot, SlotTag, Table, Tables, WhenFull, WideTag, check_together, home,
};
use traffik_core::{
    Clock, Digest, ErrorKind, Hit, Key, Op, Seed, State, StorageError, Strategy, Timestamp, Verdict,
    debug_fields,
};

use super::hint;
use super::names::{DeniedKey, DeniedNames};
use super::parts::{RegionPart, cut};
use crate::util::spin_lock::{SpinGuard, SpinLock};

/// The table of a shard, in its part of the region.
type ShardTable<T> = Table<T, RegionPart<Slot<T>>>;

/// A shard: some of the keys under one lock.
type Shard<T> = SpinLock<ShardTable<T>>;

/// The states of one type by key. A shard takes its memory when its first key arrives.
pub(super) struct Shards<T> {
    shards: Box<[Shard<T>]>,
    /// The address of the slots of all shards, one shard after another.
    slots: usize,
    /// The number of slots of a shard.
    length: usize,
    /// The number from which the seed was made.
    pub(super) secret: u64,
    seed: Seed,
    names: Option<DeniedNames>,
}

debug_fields!([T] Shards<T>: shards = |it| it.shards.len(), length);

/// The number of slots in a set of the table.
const SET: usize = <WideTag as SlotTag>::WAYS;

/// The number of cores, asked once: Linux reads several files for it.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// Returns the number of shards, and of sets in each, for `capacity` keys in slots of `slot` bytes.
///
/// There are eight slots for every five keys. Keys fall at random into sets of 16 slots, and spill into the
/// next set. So fewer than 0.1 % of the keys find both sets full.
fn shape(capacity: usize, slot: usize) -> (usize, usize) {
    /// The most keys of a shard, times the bytes of a slot. Its slots take 8/5 of that, nearly half a
    /// megabyte: the first key of a shard waits about a millisecond until all are initialised.
    const LARGEST: usize = 1 << 18;
    // sets = capacity * 8 / (5 * SET), rounded up; shards = sets / 4, at most `most`. There are 64 shards a
    // core, so that threads seldom meet, and more where a shard would exceed LARGEST.
    let largest = (LARGEST / slot.max(1)).max(1);
    let most = (64 * *CORES).next_power_of_two().max((capacity / largest).next_power_of_two());
    let sets = capacity.saturating_mul(8).div_ceil(5 * SET).max(1);
    let shards = (sets / 4).next_power_of_two().clamp(1, most);
    (shards, sets.div_ceil(shards))
}

impl<T: State> Shards<T> {
    pub(super) fn new(capacity: usize, when_full: WhenFull, names: usize, secret: u64) -> Self {
        let (shards, sets) = shape(capacity, size_of::<Slot<T>>());
        let length = sets * SET;
        let parts = cut::<Slot<T>>(shards, length);
        let slots = parts.first().map_or(0, |part| part.start().addr().get());
        let shards = parts.into_iter().map(|part| Shard::new(Table::new(part, when_full))).collect();
        let names = (names > 0).then(|| DeniedNames::new(names));
        Self { shards, slots, length, secret, seed: Seed::new(secret), names }
    }

    /// Returns the number of shards.
    pub(super) const fn count(&self) -> usize {
        self.shards.len()
    }

    /// Iterates over the tables of all shards. Each is locked while it is in use.
    pub(super) fn tables(&self) -> impl Iterator<Item = SpinGuard<'_, ShardTable<T>>> {
        self.shards.iter().map(SpinLock::lock)
    }

    pub(super) fn len(&self, now: Timestamp) -> usize {
        self.tables().map(|table| table.len(now)).sum()
    }

    pub(super) fn counters(&self) -> Counters {
        let mut all = Counters::default();
        self.tables().for_each(|table| all += table.counters());
        all
    }

    pub(super) fn denied(&self, k: usize) -> Vec<DeniedKey> {
        self.names.as_ref().map(|names| names.top(k)).unwrap_or_default()
    }

    pub(super) fn clear(&self) {
        self.tables().for_each(|mut table| table.clear());
        self.names.iter().for_each(DeniedNames::clear);
    }

    #[inline(always)]
    pub(super) fn digest<K: Key + ?Sized>(&self, key: &K) -> Digest {
        self.seed.digest(key)
    }

    #[expect(clippy::indexing_slicing, reason = "there is at least one shard, and they are a power of two")]
    #[inline]
    fn shard(&self, digest: Digest) -> &Shard<T> {
        &self.shards[self.place(digest)]
    }

    /// Returns the index of a digest's shard.
    #[inline]
    fn place(&self, digest: Digest) -> usize {
        // The table uses the upper half of the digest, and does not keep the lowest three bits.
        (digest.as_u64() >> 3) as usize & (self.shards.len() - 1)
    }

    pub(super) fn load(&self, digest: Digest, now: Timestamp) -> T {
        self.shard(digest).lock().load(digest, now)
    }

    /// Takes over an entry of another storage with the same secret.
    pub(super) fn adopt(&self, (head, state): (WideTag, T), taken: Timestamp, now: Timestamp) {
        let mut table = self.shard(head.digest()).lock();
        table.slots_mut().fill();
        table.adopt((head, state), taken, now);
    }

    #[inline(always)]
    pub(super) fn apply<S: Strategy<State = T>, K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        digest: Digest,
        op: &Op<S>,
        now: Timestamp,
        clock: &impl Clock,
    ) -> Result<S::Verdict, StorageError> {
        // The short path: one lock, and one set of the table. Most checks end here.
        if let (Op::Check(hit), None) = (op, &self.names) {
            let mut table = self.shard(digest).lock();
            if let Some(verdict) = table.check_near(strategy, digest, home(digest, self.length), hit, now) {
                return Ok(verdict);
            }
        }
        // The long way writes its answer through a reference, so that the short path writes nothing for it.
        let (op, mut answer) = (*op, Err(NOT_ASKED));
        self.apply_anywhere(strategy, key, digest, &op, (now, clock), &mut answer);
        answer
    }

    /// Applies an operation the long way, apart from the short path of most checks.
    #[inline(never)]
    fn apply_anywhere<S: Strategy<State = T>, K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        digest: Digest,
        op: &Op<S>,
        (now, clock): (Timestamp, &impl Clock),
        answer: &mut Result<S::Verdict, StorageError>,
    ) {
        let mut table = self.shard(digest).lock();
        if !matches!(op, Op::Peek(_)) {
            table.slots_mut().fill();
        }
        // A thread may have been interrupted between reading the clock and locking. The table corrects such
        // a time.
        let now = table.overtaken(now, || clock.now());
        *answer = table.apply(strategy, digest, op, now);
        drop(table);
        if let (Op::Check(_), Ok(verdict)) = (op, answer) {
            self.note(key, digest, verdict);
        }
    }

    /// Records the name of a key that was denied, if names are kept.
    fn note<K: Key + ?Sized>(&self, key: &K, digest: Digest, verdict: &impl Verdict) {
        if let Some(names) = &self.names
            && !verdict.outcome().is_allowed()
        {
            names.note(digest, key);
        }
    }

    /// Fetches the state of a key from memory, without a lock and without waiting. A processor takes no
    /// lock before the state of the previous key arrived, but it does fetch ahead.
    #[inline(always)]
    pub(super) fn prefetch(&self, digest: Digest) {
        // address = slots + (place * length + home) * size of a slot; it is only a hint, so a wrapped
        // address does no harm.
        let slot = self.place(digest) * self.length + home(digest, self.length);
        let address = self.slots.wrapping_add(slot * size_of::<Slot<T>>());
        // A slot may extend into the next cache line.
        hint::prefetch(ptr::without_provenance::<u8>(address));
        hint::prefetch(ptr::without_provenance::<u8>(address.wrapping_add(size_of::<Slot<T>>() - 1)));
    }

    /// Looks up a few keys ahead, so that the processor fetches their states at the same time.
    pub(super) fn check_many<S: Strategy<State = T>, K: Key>(
        &self,
        strategy: &S,
        keys: &[K],
        digest: impl Fn(&K) -> Digest,
        hit: &Hit<S::Cost>,
        (now, clock): (Timestamp, &impl Clock),
        mut answer: impl FnMut(&K, Result<S::Verdict, StorageError>),
    ) {
        /// The number of fetches that a core can have under way.
        const AHEAD: usize = 16;
        let op = Op::Check(*hit);
        for keys in keys.chunks(AHEAD) {
            let mut digests = [Digest::default(); AHEAD];
            for (place, key) in digests.iter_mut().zip(keys) {
                *place = digest(key);
                self.prefetch(*place);
            }
            for (key, digest) in keys.iter().zip(digests) {
                answer(key, self.apply(strategy, key, digest, &op, now, clock));
            }
        }
    }

    /// Checks in one step: nobody sees one of the keys charged before all are.
    pub(super) fn check_together<S: Strategy<State = T>, K: Key + ?Sized, const N: usize>(
        &self,
        strategy: &S,
        keys: [&K; N],
        digests: [Digest; N],
        hit: &Hit<S::Cost>,
        (now, clock): (Timestamp, &impl Clock),
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
        let mut places = digests.map(|digest| self.place(digest));
        // All threads lock in the order of the shards, so no two wait for each other.
        places.sort_unstable();
        let mut before = None;
        let locked = places.map(|place| {
            // A shard of several keys is locked once.
            let is_new = before.replace(place) != Some(place);
            let mut table = self.shards.get(place).filter(|_| is_new)?.lock();
            table.slots_mut().fill();
            Some((place, table))
        });
        let overtaken = |now, table: &ShardTable<T>| table.overtaken(now, || clock.now());
        let now = locked.iter().flatten().fold(now, |now, (_, table)| overtaken(now, table));
        let together =
            check_together(&mut LockedShards { locked, shards: self }, strategy, digests, hit, now)?;
        for ((key, digest), verdict) in keys.into_iter().zip(digests).zip(&together.verdicts) {
            self.note(key, digest, verdict);
        }
        Ok(together)
    }
}

/// The initial value of an answer, which the table replaces.
const NOT_ASKED: StorageError = StorageError::new(ErrorKind::Other, "the table was not asked");

/// Some shards of a storage, each locked once.
struct LockedShards<'a, T, const N: usize> {
    locked: [Option<(usize, SpinGuard<'a, ShardTable<T>>)>; N],
    shards: &'a Shards<T>,
}

impl<T: State, const N: usize> Tables<T, RegionPart<Slot<T>>, WideTag> for LockedShards<'_, T, N> {
    fn table_for(&mut self, digest: Digest) -> Result<&mut ShardTable<T>, StorageError> {
        let place = self.shards.place(digest);
        let found = self.locked.iter_mut().flatten().find(|(locked, _)| *locked == place);
        found.map(|(_, table)| &mut **table).ok_or(NOT_LOCKED)
    }
}

/// Never occurs: all shards of the keys are locked.
const NOT_LOCKED: StorageError = StorageError::new(ErrorKind::Other, "a shard was not locked");

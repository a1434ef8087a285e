//! The keys of a storage in shards, each under a lock of its own, whatever clock it goes by.

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

/// A table in a part of the one region.
type ShardTable<T> = Table<T, RegionPart<Slot<T>>>;

/// A part of the keys under a lock of its own.
type Shard<T> = SpinLock<ShardTable<T>>;

/// States of one type by key. A shard takes memory from its first key on.
pub(super) struct Shards<T> {
    shards: Box<[Shard<T>]>,
    /// Where the slots of all shards lie, one shard after another.
    slots: usize,
    /// How many slots a shard has.
    length: usize,
    /// The number that the seed was made of.
    pub(super) secret: u64,
    seed: Seed,
    names: Option<DeniedNames>,
}

debug_fields!([T] Shards<T>: shards = |it| it.shards.len(), length);

/// ShardTable in a set of the table.
const SET: usize = <WideTag as SlotTag>::WAYS;

/// Asked once: Linux reads several files for it.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// How many shards, and sets in each, hold `capacity` keys in slots of this size.
///
/// Eight slots for every five keys: of keys that fall at random into sets of 16 that spill into the next one,
/// fewer than 0.1 % then find both full.
fn shape(capacity: usize, slot: usize) -> (usize, usize) {
    /// The first key of a shard waits until all of it is initialised: half a megabyte, about a millisecond.
    const LARGEST: usize = 1 << 18;
    // So that threads seldom meet, and large shards are cut.
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

    /// How many shards there are.
    pub(super) const fn count(&self) -> usize {
        self.shards.len()
    }

    /// The tables of all shards, one after another, each locked while it is looked at.
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

    /// Which shard a digest belongs to.
    #[inline]
    fn place(&self, digest: Digest) -> usize {
        // The table takes the upper half of the digest, and does not keep the lowest three bits.
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
        if let (Op::Check(hit), None) = (op, &self.names) {
            let mut table = self.shard(digest).lock();
            if let Some(verdict) = table.check_near(strategy, digest, home(digest, self.length), hit, now) {
                return Ok(verdict);
            }
        }
        // Into a place of its own, so that above no figure is written down that no one reads.
        let (op, mut answer) = (*op, Err(NOT_ASKED));
        self.apply_anywhere(strategy, key, digest, &op, (now, clock), &mut answer);
        answer
    }

    /// Applies an operation the long way, apart from the short one that most checks take.
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
        let now = table.overtaken(now, || clock.now());
        *answer = table.apply(strategy, digest, op, now);
        drop(table);
        if let (Op::Check(_), Ok(verdict)) = (op, answer) {
            self.note(key, digest, verdict);
        }
    }

    /// Notes the name of a key that was denied, if names are kept.
    fn note<K: Key + ?Sized>(&self, key: &K, digest: Digest, verdict: &impl Verdict) {
        if let Some(names) = &self.names
            && !verdict.outcome().is_allowed()
        {
            names.note(digest, key);
        }
    }

    /// Has the state of a key fetched from memory, without waiting for it and without a lock: a processor
    /// takes no lock before the state of the key before has come, but fetches ahead.
    #[inline(always)]
    pub(super) fn prefetch(&self, digest: Digest) {
        let slot = self.place(digest) * self.length + home(digest, self.length);
        let address = self.slots.wrapping_add(slot * size_of::<Slot<T>>());
        // It may go on in the next line.
        hint::prefetch(ptr::without_provenance::<u8>(address));
        hint::prefetch(ptr::without_provenance::<u8>(address.wrapping_add(size_of::<Slot<T>>() - 1)));
    }

    /// Looks up a few keys ahead, so that the processor fetches what they need from memory at the same time.
    pub(super) fn check_many<S: Strategy<State = T>, K: Key>(
        &self,
        strategy: &S,
        keys: &[K],
        digest: impl Fn(&K) -> Digest,
        hit: &Hit<S::Cost>,
        (now, clock): (Timestamp, &impl Clock),
        mut answer: impl FnMut(&K, Result<S::Verdict, StorageError>),
    ) {
        /// About as many as a core can fetch at a time.
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

    /// In one step: no one sees one of the keys charged before all are.
    pub(super) fn check_together<S: Strategy<State = T>, K: Key + ?Sized, const N: usize>(
        &self,
        strategy: &S,
        keys: [&K; N],
        digests: [Digest; N],
        hit: &Hit<S::Cost>,
        (now, clock): (Timestamp, &impl Clock),
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
        let mut places = digests.map(|digest| self.place(digest));
        // Everyone locks in the order of the shards, so no two wait for each other.
        places.sort_unstable();
        let mut before = None;
        let locked = places.map(|place| {
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

/// Stands where an answer will be.
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

/// Cannot be: all shards of the keys are locked before.
const NOT_LOCKED: StorageError = StorageError::new(ErrorKind::Other, "a shard was not locked");

//! States in the memory of this process, shared by its threads.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::marker::PhantomData;
use std::time::Duration;

use spin::mutex::{SpinMutex, SpinMutexGuard};

use traffik_core::storage::{Counters, Head, Slot, Table, Tables, Together, WhenFull, Wide, check_together};
use traffik_core::{
    Clock, Digest, ErrorKind, Hit, Key, Op, Seed, Storage, StorageError, Strategy, Timestamp,
};

use crate::MonotonicClock;

mod snapshot;
mod top;

pub use snapshot::SnapshotError;
pub use top::Used;

/// Room for a fixed number of keys in this process: allocated once, never grown.
///
/// No key is stored, only 61 bits of a keyed hash of it, so two keys are taken for one with a chance of 2⁻⁶¹: about
/// one in four million for any two among a million keys. They would then share one limit, and nothing worse. The hash
/// is keyed at random, so no one can choose keys that meet.
///
/// A full storage gives up the key that would be fresh soonest and counts it, or refuses new keys; see [`WhenFull`]
/// and [`Memory::counters`].
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
    /// What the seed was made of.
    secret: u64,
    seed: Seed,
    clock: C,
}

impl<S: Strategy, C: fmt::Debug> fmt::Debug for Memory<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("shards", &self.shards.len())
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

type Slots<T> = Table<T, Box<[Slot<T>]>>;

/// A part of the keys under a lock of its own, on cache lines of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Shard<T>(SpinMutex<Slots<T>>);

impl<T> Shard<T> {
    /// The table, which is held for a decision, or for as long as it takes to walk through this shard's slots. A
    /// panic while it was locked left each state as it was or as decided, since a state is replaced whole.
    #[inline]
    fn lock(&self) -> SpinMutexGuard<'_, Slots<T>> {
        self.0.try_lock().unwrap_or_else(|| self.lock_in_turn())
    }

    /// Waits a moment, then lets others run, then sleeps: whoever holds the table may not be running.
    #[cold]
    fn lock_in_turn(&self) -> SpinMutexGuard<'_, Slots<T>> {
        let mut turn = 0u32;
        loop {
            if let Some(table) = self.0.try_lock() {
                return table;
            }
            match turn {
                0..100 => std::hint::spin_loop(),
                100..200 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(50)),
            }
            turn = turn.saturating_add(1);
        }
    }
}

impl<S: Strategy> Memory<S> {
    /// Room for `capacity` keys in use at a time, on a monotonic clock; a full storage gives keys up.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::builder().capacity(capacity).build()
    }

    /// Room for 65 536 keys on a monotonic clock, until told otherwise.
    pub fn builder() -> MemoryBuilder<S> {
        let (when_full, clock) = (WhenFull::default(), MonotonicClock::default());
        MemoryBuilder { capacity: 1 << 16, when_full, clock, strategy: PhantomData }
    }
}

/// What a [`Memory`] is to be like.
#[derive(Debug)]
#[must_use]
pub struct MemoryBuilder<S, C = MonotonicClock> {
    capacity: usize,
    when_full: WhenFull,
    clock: C,
    strategy: PhantomData<fn() -> S>,
}

impl<S: Strategy, C> MemoryBuilder<S, C> {
    /// Room for this many keys in use at a time.
    pub const fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// What gives way when there is no room.
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Which clock to use.
    pub fn clock<D: Clock>(self, clock: D) -> MemoryBuilder<S, D> {
        MemoryBuilder { capacity: self.capacity, when_full: self.when_full, clock, strategy: PhantomData }
    }

    /// Allocates the storage.
    #[must_use]
    pub fn build(self) -> Memory<S, C> {
        self.build_with(RandomState::new().build_hasher().finish())
    }

    fn build_with(self, secret: u64) -> Memory<S, C> {
        let (shards, sets) = shape(self.capacity);
        let table = || Table::new((0..sets * SET).map(|_| Slot::default()).collect(), self.when_full);
        let shards = (0..shards).map(|_| Shard(SpinMutex::new(table()))).collect();
        Memory { shards, secret, seed: Seed::new(secret), clock: self.clock }
    }
}

/// Slots in a set of the table.
const SET: usize = <Wide as Head>::WAYS;

/// How many shards, and sets in each, hold `capacity` keys.
///
/// Three slots for every two keys: of keys that fall at random into sets of 16 that spill into the next one,
/// fewer than 0.1 % then find both full.
fn shape(capacity: usize) -> (usize, usize) {
    // So that threads seldom meet.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = (16 * cores).next_power_of_two();
    let sets = capacity.saturating_mul(3).div_ceil(2 * SET).max(1);
    let shards = (sets / 4).next_power_of_two().clamp(1, most);
    (shards, sets.div_ceil(shards))
}

impl<S: Strategy, C: Clock> Memory<S, C> {
    /// Keys in use. Looks at every slot.
    pub fn len(&self) -> usize {
        let now = self.clock.now();
        self.shards.iter().map(|shard| shard.lock().len(now)).sum()
    }

    /// Whether no key is in use. Looks at every slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was done for want of room.
    pub fn counters(&self) -> Counters {
        let mut all = Counters::default();
        self.shards.iter().for_each(|shard| all += shard.lock().counters());
        all
    }

    /// Forgets every key.
    pub fn clear(&self) {
        self.shards.iter().for_each(|shard| shard.lock().clear());
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
}

impl<S: Strategy, C: Clock> Storage<S> for Memory<S, C> {
    #[inline]
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    #[inline]
    fn apply<K: Key + ?Sized>(
        &self,
        limit: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        let digest = self.seed.digest(key);
        self.shard(digest).lock().apply(limit, digest, op, now)
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
                std::hint::black_box(self.shard(*digest).lock().touch(*digest));
            }
            for (key, digest) in keys.iter().zip(digests) {
                answer(key, self.shard(digest).lock().apply(limit, digest, &op, now));
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
        check_together(&mut Locked { locked, storage: self }, limit, digests, hit, now)
    }
}

/// Some shards of a storage, each locked once.
struct Locked<'a, S: Strategy, C, const N: usize> {
    locked: [Option<(usize, SpinMutexGuard<'a, Slots<S::State>>)>; N],
    storage: &'a Memory<S, C>,
}

impl<S: Strategy, C: Clock, const N: usize> Tables<S::State, Box<[Slot<S::State>]>, Wide>
    for Locked<'_, S, C, N>
{
    fn holding(&mut self, digest: Digest) -> Result<&mut Slots<S::State>, StorageError> {
        let place = self.storage.place(digest);
        let found = self.locked.iter_mut().flatten().find(|(locked, _)| *locked == place);
        found.map(|(_, table)| &mut **table).ok_or(NOT_LOCKED)
    }
}

/// Cannot be: all shards of the keys are locked before.
const NOT_LOCKED: StorageError = StorageError::new(ErrorKind::Other, "a shard was not locked");

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use traffik_core::{FixedWindow, Gcra, Limiter, ManualClock, Rate, TokenBucket};

    /// Of as many keys as a storage is for, one in a thousand finds no room: on average, for the same hashes each time.
    #[test]
    fn the_nominal_capacity_displaces_next_to_nothing() {
        for capacity in [1_000usize, 10_000, 200_000] {
            let storages = 400_000 / capacity;
            let displaced = |seed: usize| {
                let storage = Memory::builder().capacity(capacity).clock(ManualClock::default());
                let storage = storage.build_with(seed as u64);
                let limiter = Limiter::new(Gcra::new(Rate::per_minute(1)), &storage);
                (0..capacity as u64).for_each(|key| assert!(limiter.check(&key).unwrap().is_allowed()));
                let displaced = storage.counters().evictions as usize;
                assert_eq!(storage.len(), capacity - displaced);
                displaced
            };
            let displaced: usize = (0..storages).map(displaced).sum();
            println!("{displaced} of {} keys, {capacity} at a time", capacity * storages);
            assert!(displaced <= capacity * storages / 1_000, "{displaced} of {}", capacity * storages);
        }
    }

    #[test]
    fn a_full_storage_refuses_new_keys_and_keeps_the_old() {
        let storage =
            Memory::builder().capacity(8).when_full(WhenFull::Refuse).clock(ManualClock::default()).build();
        let limiter = Limiter::new(FixedWindow::new(Rate::per_minute(1)), &storage);
        let (mut kept, mut refused) = (Vec::new(), 0);
        for key in 0..1_000u64 {
            match limiter.check(&key) {
                Ok(decision) => kept.extend(decision.is_allowed().then_some(key)),
                Err(error) => refused += u64::from(error.kind() == ErrorKind::Full),
            }
        }
        assert_eq!((kept.len() as u64 + refused, storage.counters().refusals), (1_000, refused));
        assert!(kept.iter().all(|key| !limiter.check(key).unwrap().is_allowed()));
        storage.clear();
        assert!(storage.is_empty() && limiter.check(&kept[0]).unwrap().is_allowed());
    }

    #[test]
    fn threads_admit_exactly_the_limit() {
        const THREADS: u64 = 8;
        let limiter = Limiter::new(
            TokenBucket::new(Rate::per_day(10_000)),
            Memory::builder().clock(ManualClock::default()).build(),
        );
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        admitted
                            .fetch_add(limiter.check("hot").unwrap().is_allowed().into(), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 10_000);
    }

    /// Keys that are in one another's way, of which as many are in use as there is room for.
    #[test]
    fn threads_admit_exactly_the_limit_of_keys_in_one_set() {
        const KEYS: u64 = 16;
        let storage =
            Memory::builder().capacity(10).when_full(WhenFull::Refuse).clock(ManualClock::default());
        let limiter = Limiter::new(TokenBucket::new(Rate::per_day(500)), storage.build());
        let admitted: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (limiter, admitted) = (&limiter, &admitted);
                scope.spawn(move || {
                    for hit in 0..100 * KEYS {
                        let key = (hit * (2 * thread + 1) + thread) % KEYS;
                        let allowed = limiter.check(&key).unwrap().is_allowed();
                        admitted[key as usize].fetch_add(allowed.into(), Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(admitted.into_iter().all(|admitted| admitted.into_inner() == 500));
    }

    /// Each thread names two keys of many in an order of its own: no deadlock, and both are charged or neither.
    #[test]
    fn threads_that_name_keys_in_any_order_do_not_block_each_other() {
        const KEYS: u64 = 40;
        let storage = Memory::builder().capacity(10_000).clock(ManualClock::default()).build();
        let limiter = Limiter::new(TokenBucket::new(Rate::per_day(100)), storage);
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (limiter, admitted) = (&limiter, &admitted);
                scope.spawn(move || {
                    for hit in 0..5_000 {
                        let (one, other) = ((hit * 7 + thread) % KEYS, (hit * 11 + 3 * thread) % KEYS);
                        let both = limiter.check_together([&one, &other], 1).unwrap();
                        admitted.fetch_add(u64::from(both.is_allowed()) * 2, Ordering::Relaxed);
                    }
                });
            }
        });
        let used: u64 =
            (0..KEYS).map(|key| 100 - u64::from(limiter.peek(&key, 0).unwrap().remaining())).sum();
        assert_eq!(admitted.into_inner(), used);
    }

    #[test]
    fn a_batch_decides_as_one_after_another() {
        let memory = || Memory::builder().capacity(100).clock(ManualClock::default()).build();
        let limit = TokenBucket::new(Rate::per_minute(3));
        let (batch, single) = (Limiter::new(limit, memory()), Limiter::new(limit, memory()));
        let keys: Vec<u64> = (0..200).map(|hit| hit * hit % 37).collect();
        let mut answers = Vec::new();
        batch.check_many(&keys, |key, answer| answers.push((*key, answer)));
        let expected: Vec<_> = keys.iter().map(|key| (*key, single.check(key))).collect();
        assert_eq!(answers, expected);
    }

    /// A real clock and real threads: never more than the burst and what refilled meanwhile.
    #[test]
    fn a_real_clock_admits_no_more_than_the_bound() {
        let limiter = Limiter::new(Gcra::new(Rate::per_second(10_000)).burst(100).unwrap(), Memory::new(16));
        let began = limiter.now();
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while limiter.now().since(began) < Duration::from_millis(100) {
                        admitted
                            .fetch_add(limiter.check("hot").unwrap().is_allowed().into(), Ordering::Relaxed);
                    }
                });
            }
        });
        let bound = 100 + limiter.now().micros_since(began) * 10_000 / 1_000_000;
        assert!((1..=bound).contains(&admitted.into_inner()));
    }

    #[test]
    fn a_panic_under_the_lock_does_not_close_the_storage() {
        let storage = Memory::<Gcra>::new(1);
        let panicked = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let _guard = storage.shards[0].lock();
                    panic!("while the lock is held");
                })
                .join()
        });
        assert!(panicked.is_err());
        let op = Op::Check(Hit::new(1));
        assert!(storage.apply(&Gcra::new(Rate::per_second(1)), "key", &op, storage.now()).is_ok());
    }
}

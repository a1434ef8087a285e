//! A storage with room for a fixed number of keys inline, for firmware: no heap, no lock.

use core::cell::RefCell;

use super::access::{Access, SingleThread};
use super::restored_offset::RestoredOffset;
use super::saved::{self, Image};
use super::table::{Counters, Slot, Table, WhenFull, image};
use super::{Answer, MultiKeyVerdict, NarrowTag, Storage, StorageError, WaitQueue, check_together};
use crate::{Clock, Hit, Key, Op, Seed, State, Strategy, Timestamp};

/// A storage with room for `N` keys inline, for firmware and tests: no heap.
///
/// Choose it where the number of keys is known and small; on a server choose `Memory`, for a single key
/// [`OneKey`](crate::OneKey). [`Fixed::new`] makes one for use from one thread or core and from no interrupt;
/// with the feature `critical-section`, [`Fixed::shared`] makes one that tasks and interrupts share. Both can
/// be made in a constant.
///
/// ```
/// use traffik::{Fixed, Gcra, Limiter, ManualClock, rate};
///
/// // Room for 16 keys. Take the seed from a random source wherever others choose the keys.
/// let storage = Fixed::<Gcra, _, 16>::new(ManualClock::default(), 0x5eed);
/// let limiter = Limiter::new(Gcra::new(rate!("2/s")), storage);
/// assert!(limiter.check("sensor-7")?.is_allowed());
/// assert_eq!(limiter.storage().len(), 1);
/// # Ok::<(), traffik::StorageError>(())
/// ```
///
/// Beyond the states and the clock it takes 8 bytes a key (see [`NarrowTag`] for how well that tells keys
/// apart), and up to 64 bytes in all. A shared one takes more, for its waiters.
///
/// # Choosing `N`
///
/// A table of up to 127 slots holds exactly `N` keys in use. A larger one is cut into sets of 64 slots, and a
/// new key finds its set full before the table is, so give it a third more slots than keys:
///
/// | slots | keys in use | new keys that find no room |
/// |---|---|---|
/// | up to 127 | `N` | none |
/// | 128 | 64, 96, 115 | none, 0.001 %, 0.5 % |
/// | 256 | 128, 192, 230 | none, 0.02 %, 1.0 % |
/// | 1 024 | 512, 768, 921 | none, 0.04 %, 1.4 % |
///
/// In a full set the key that becomes fresh first gives way; see [`when_full`](Self::when_full).
///
/// A known key is found in a few steps; for a new one each slot of its set is searched. With `Gcra` and 32
/// slots on a Cortex-M3, a check of a known key takes at most 500 instructions, of a new one 900, and of one
/// that evicts another 1 200, the clock and the hash included.
///
/// # Clocks
///
/// A clock that is set back locks no key out (see [`Strategy::rebase`]). When the limit changes to one of a
/// longer period, a state is kept only for as long as the limit before kept it, until a hit is admitted.
/// Prolonging it at each denial, as `Memory` does, would take a division.
///
/// # Resets
///
/// [`save`](Self::save) writes the keys in use as bytes, for flash or memory that outlasts a reset, and
/// [`restore`](Self::restore) reads them:
///
/// ```
/// use core::time::Duration;
/// use traffik::{Fixed, Limiter, ManualClock, TokenBucket, rate};
///
/// type Commands<'a> = Fixed<TokenBucket, &'a ManualClock, 16>;
///
/// const LIMIT: TokenBucket = TokenBucket::new(rate!("2/min"));
/// let mut image = [0; Commands::SAVED];
/// let uptime = ManualClock::default();
/// let before = Limiter::new(LIMIT, Commands::new(&uptime, 0x5eed));
/// assert!(before.check_n("pump-7", 2)?.is_allowed());
/// before.storage().save(&mut image)?;
///
/// let uptime = ManualClock::default(); // begins at 0 again
/// let after = Limiter::new(LIMIT, Commands::new(&uptime, 1));
/// after.storage().restore(&image)?;
/// assert_eq!(after.check("pump-7")?.retry_after(), Some(Duration::from_secs(30)));
/// # Ok::<(), traffik::StorageError>(())
/// ```
pub struct Fixed<S: Strategy, C, const N: usize, A: Access = SingleThread> {
    cell: A::Cell<FixedState<S::State, N>>,
    queue: A::Queue<Seed>,
    when_full: WhenFull,
    clock: C,
}

/// The part of a `Fixed` that changes: table, seed and time.
#[derive(Debug)]
pub(super) struct FixedState<T, const N: usize> {
    table: Slots<T, N>,
    seed: Seed,
    /// The offset of the storage's time from its clock.
    offset: RestoredOffset,
}

type Slots<T, const N: usize> = Table<T, [Slot<T, NarrowTag>; N], NarrowTag>;

impl<T: State, const N: usize> FixedState<T, N> {
    pub(super) const fn new(seed: u64) -> Self {
        let table = Table::new([const { Slot::EMPTY }; N], WhenFull::Evict);
        Self { table, seed: Seed::new(seed), offset: RestoredOffset::NONE }
    }
}

impl<S: Strategy, C, const N: usize> Fixed<S, C, N> {
    /// Creates an empty storage, for use from one thread or core.
    ///
    /// `seed` keys the hash of the keys. Take it from a random source wherever others choose the keys;
    /// otherwise they could choose two keys that share a slot.
    #[inline]
    #[must_use]
    pub const fn new(clock: C, seed: u64) -> Self {
        Self::of(RefCell::new(FixedState::new(seed)), (), clock)
    }
}

impl<S: Strategy, C, const N: usize, A: Access> Fixed<S, C, N, A> {
    /// The most bytes that [`save`](Self::save) writes.
    pub const SAVED: usize = saved::FRAME + 8 + image::SLOTS + N * (image::SLOT + S::State::MAX_LEN);

    pub(super) const fn of(cell: A::Cell<FixedState<S::State, N>>, queue: A::Queue<Seed>, clock: C) -> Self {
        Self { cell, queue, when_full: WhenFull::Evict, clock }
    }

    /// Sets the policy for when the storage is full. Defaults to [`WhenFull::Evict`].
    ///
    /// ```
    /// use traffik::storage::WhenFull;
    /// use traffik::{ErrorKind, Fixed, Gcra, Limiter, ManualClock, rate};
    ///
    /// let storage = Fixed::<Gcra, _, 1>::new(ManualClock::default(), 1).when_full(WhenFull::Refuse);
    /// let limiter = Limiter::new(Gcra::new(rate!("1/min")), storage);
    /// assert!(limiter.check("first")?.is_allowed());
    /// assert_eq!(limiter.check("second").unwrap_err().kind(), ErrorKind::Full);
    /// assert_eq!(limiter.storage().counters().refusals, 1);
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    #[inline]
    #[must_use]
    pub const fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Forgets every key, and hashes keys with this seed from now on.
    ///
    /// Call it at boot for a `static`, whose seed was a constant, and before others use the storage. If
    /// another task or core is in the middle of a check, that check may be lost.
    pub fn reseed(&self, seed: u64) {
        let seed = Seed::new(seed);
        // It fails only for a strategy that reseeds its own storage.
        let _ = A::with(&self.cell, |it| {
            it.table.clear();
            it.seed = seed.clone();
            Ok(())
        });
        A::rename(&self.queue, seed);
    }

    /// Returns how often the table lacked room.
    ///
    /// The fields are `u64`: `evictions` counts keys given up before they were fresh, `refusals` new keys
    /// refused.
    pub fn counters(&self) -> Counters {
        A::with(&self.cell, |it| Ok(it.table.counters())).unwrap_or_default()
    }

    /// Returns the seed, so that a key is hashed before the table is in use, while nobody waits for it.
    #[inline]
    fn seed(&self) -> Result<Seed, StorageError> {
        A::with(&self.cell, |it| Ok(it.seed.clone()))
    }
}

impl<S: Strategy, C: Clock, const N: usize, A: Access> Fixed<S, C, N, A> {
    /// Returns the number of keys in use.
    pub fn len(&self) -> usize {
        let clock = self.clock.now();
        A::with(&self.cell, |it| Ok(it.table.len(it.offset.of(clock)))).unwrap_or(0)
    }

    /// Reports whether no key is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the keys in use to the front of `out`, for [`restore`](Self::restore) after a reset.
    ///
    /// Returns the number of bytes written, at most [`SAVED`](Self::SAVED). They hold no key, but the secret
    /// that keys are hashed with: keep them as you keep secrets.
    ///
    /// # Errors
    ///
    /// Fails with [`Invalid`](crate::ErrorKind::Invalid) if `out` is too short; [`SAVED`](Self::SAVED) bytes
    /// are always enough.
    pub fn save(&self, out: &mut [u8]) -> Result<usize, StorageError> {
        let clock = self.clock.now();
        let length = A::with(&self.cell, |it| {
            let now = it.offset.of(clock);
            saved::write::<S::State>(out, saved::TABLE, now, |out| {
                out.u64(it.seed.start());
                it.table.encode(now, out);
            })
        })?;
        saved::seal(out, length)
    }

    /// Replaces all keys, and the seed, by those that were saved before a reset.
    ///
    /// Bytes behind the saved ones do not matter, so a whole page of flash can be given. Policy and counters
    /// stay. Call it at boot, before others use the storage. A hit after saving is not remembered: save after
    /// hits that matter, or expect one limit more for each reset.
    ///
    /// * **Time.** Under a clock that begins at 0 at each boot, the storage goes on from the time of saving:
    ///   the time off does not count, and windows keep their phase. Once the clock reads a time of the
    ///   calendar (from 2005 on), also if it is set later, the storage uses that time, and the time off
    ///   counts.
    /// * **Limit.** It has to be of the same kind, such as any `TokenBucket`; its rate may differ. Strategies
    ///   that share their states, as buckets do, can restore each other's.
    /// * **Room.** `N` has to be the same, or larger and at most 127.
    ///
    /// # Errors
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if the bytes are cut short or changed, or were not
    /// saved by a storage for such a limit that fits into this one; the storage then stays as it was. A
    /// checksum of 32 bits finds any change of up to 32 bits in a row, and misses one in 2³² of all others.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), StorageError> {
        let mut image = Image::open::<S::State>(bytes, saved::TABLE)?;
        let seed = Seed::from_start(image.body.u64()?);
        // Reads all of it once without keeping anything, so that bytes which fail leave the storage as it
        // was.
        let mut end = image.body.clone();
        image::read::<S::State>(&mut end, N, &mut |_, _| {})?;
        image.check(&end)?;
        let offset = RestoredOffset::from(image.at, self.clock.now());
        A::rename(&self.queue, seed.clone());
        A::with(&self.cell, |it| {
            (it.seed, it.offset) = (seed, offset);
            Ok(it.table.decode(&mut image.body)?)
        })
    }
}

debug_fields!([S: Strategy, C: Clock, const N: usize, A: Access] Fixed<S, C, N, A>:
    len = |it| it.len(), counters = |it| it.counters());

impl<S: Strategy, C: Clock, const N: usize, A: Access> Storage<S> for Fixed<S, C, N, A> {
    fn now(&self) -> Timestamp {
        let clock = self.clock.now();
        A::with(&self.cell, |it| Ok(it.offset.of(clock))).unwrap_or(clock)
    }

    #[inline]
    fn apply<K: Key + ?Sized>(&self, strategy: &S, key: &K, op: &Op<S>, now: Timestamp) -> Answer<S> {
        // The hash is computed outside of the section, whose length then does not depend on the key.
        let digest = self.seed()?.digest(key);
        A::with(&self.cell, |it| {
            // The reading is the caller's: an interrupt may have decided with a later one since.
            let now = it.table.overtaken(now, || it.offset.of(self.clock.now()));
            it.table.set_when_full(self.when_full);
            it.table.apply(strategy, digest, op, now)
        })
    }

    #[inline]
    fn apply_now<K: Key + ?Sized>(&self, strategy: &S, key: &K, op: &Op<S>) -> Answer<S> {
        let digest = if A::IS_AWAITED { Some(self.seed()?.digest(key)) } else { None };
        A::with(&self.cell, |it| {
            // Read within the section, so that no interrupt comes between: a time older than that of the
            // state can then only come from a clock that was set back.
            let now = it.offset.of(self.clock.now());
            it.table.set_when_full(self.when_full);
            it.table.apply(strategy, digest.unwrap_or_else(|| it.seed.digest(key)), op, now)
        })
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        let (digest, clock) = (self.seed()?.digest(key), self.clock.now());
        A::with(&self.cell, |it| Ok(it.table.load(digest, it.offset.of(clock))))
    }

    fn check_together<K: Key + ?Sized, const M: usize>(
        &self,
        strategy: &S,
        keys: [&K; M],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<MultiKeyVerdict<S::Verdict, M>, StorageError> {
        let seed = self.seed()?;
        let digests = keys.map(|key| seed.digest(key));
        A::with(&self.cell, |it| {
            let now = it.table.overtaken(now, || it.offset.of(self.clock.now()));
            it.table.set_when_full(self.when_full);
            check_together(&mut it.table, strategy, digests, hit, now)
        })
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        A::queue(&self.queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Gcra, Hit, Limiter, ManualClock, Rate};

    struct NoClock;

    impl Clock for NoClock {
        fn now(&self) -> Timestamp {
            Timestamp::EPOCH
        }
    }

    #[test]
    fn is_as_small_as_documented() {
        assert!(size_of::<Fixed<Gcra, NoClock, 32>>() <= 32 * 32 + 64);
        assert_eq!(size_of::<Fixed<Gcra, NoClock, 33>>() - size_of::<Fixed<Gcra, NoClock, 32>>(), 24 + 8);
    }

    #[test]
    fn a_policy_can_be_chosen_and_what_it_did_is_counted() {
        for (when_full, counters) in [
            (WhenFull::Evict, Counters { evictions: 1, refusals: 0 }),
            (WhenFull::Refuse, Counters { evictions: 0, refusals: 1 }),
        ] {
            let storage = Fixed::<Gcra, _, 1>::new(ManualClock::default(), 1).when_full(when_full);
            let limiter = Limiter::new(Gcra::new(Rate::per_minute(1)), &storage);
            assert!(storage.is_empty() && limiter.check("first").unwrap().is_allowed());
            assert_eq!(limiter.check("second").is_ok(), when_full == WhenFull::Evict);
            assert_eq!((storage.len(), storage.counters()), (1, counters));
        }
    }

    #[test]
    fn a_storage_in_use_by_the_caller_itself_is_contended() {
        let storage = Fixed::<Gcra, _, 1>::new(ManualClock::default(), 1);
        let _held = storage.cell.borrow_mut();
        let op = Op::Check(Hit::new(1));
        let answer = storage.apply(&Gcra::new(Rate::per_minute(1)), "key", &op, Timestamp::EPOCH);
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Contended);
        assert!(Storage::<Gcra>::load(&storage, "key").is_err());
        assert_eq!((storage.len(), storage.counters()), (0, Counters::default()));
    }
}

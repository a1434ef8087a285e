//! A storage with room for a fixed number of keys inline, for firmware: no heap, no lock.

use core::cell::RefCell;

use super::table::{Counters, Slot, Table, WhenFull};
use super::{Answer, ErrorKind, Narrow, Storage, StorageError, Together, check_together};
use crate::{Clock, Hit, Key, Op, Seed, Strategy, Timestamp};

/// Room for `N` keys, for use from one thread or core.
///
/// Beyond the states it takes 8 bytes a key (see [`Narrow`] for how well that tells keys apart), and about 60
/// in all.
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
/// Of a full set the key that is fresh soonest gives way; see [`when_full`](Self::when_full). A known key is
/// found in a few steps; a new one takes a look at each slot of its set.
///
/// # Clocks
///
/// A clock that is set back locks no key out (see [`Strategy::rebase`]). When the limit changes to one of a
/// longer period, a state is kept for as long as the limit before had it, since to look would cost each
/// denial a division; `Memory` prolongs it.
#[derive(Debug)]
pub struct Fixed<S: Strategy, C, const N: usize> {
    table: RefCell<Slots<S::State, N>>,
    seed: Seed,
    clock: C,
}

type Slots<T, const N: usize> = Table<T, [Slot<T, Narrow>; N], Narrow>;

impl<S: Strategy, C: Clock, const N: usize> Fixed<S, C, N> {
    /// An empty storage. `seed` keys the hash of the keys: take it from a random source wherever others
    /// choose the keys, else they could choose two that share a slot.
    #[inline]
    #[must_use]
    pub fn new(clock: C, seed: u64) -> Self {
        let table = Table::new(core::array::from_fn(|_| Slot::default()), WhenFull::Evict);
        Self { table: RefCell::new(table), seed: Seed::new(seed), clock }
    }

    /// The same storage with this policy for when it is full.
    #[inline]
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.table.get_mut().set_when_full(when_full);
        self
    }

    /// Keys in use.
    pub fn len(&self) -> usize {
        self.table.try_borrow().map_or(0, |table| table.len(self.clock.now()))
    }

    /// Whether no key is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The work that the table did for want of room: the `u64` fields `evictions`, keys given up before they
    /// were fresh, and `refusals`, new keys refused.
    pub fn counters(&self) -> Counters {
        self.table.try_borrow().map(|table| table.counters()).unwrap_or_default()
    }
}

impl<S: Strategy, C: Clock, const N: usize> Storage<S> for Fixed<S, C, N> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    #[inline]
    fn apply<K: Key + ?Sized>(&self, limit: &S, key: &K, op: &Op<S>, now: Timestamp) -> Answer<S> {
        let digest = self.seed.digest(key);
        self.table.try_borrow_mut().map_err(|_| BUSY)?.apply(limit, digest, op, now)
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        let table = self.table.try_borrow().map_err(|_| BUSY)?;
        Ok(table.load(self.seed.digest(key), self.clock.now()))
    }

    fn check_together<K: Key + ?Sized, const M: usize>(
        &self,
        limit: &S,
        keys: [&K; M],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<Together<S::Verdict, M>, StorageError> {
        let mut table = self.table.try_borrow_mut().map_err(|_| BUSY)?;
        check_together(&mut *table, limit, keys.map(|key| self.seed.digest(key)), hit, now)
    }
}

/// Only a strategy that calls back into its own storage could meet this.
const BUSY: StorageError =
    StorageError::new(ErrorKind::Contended, "the table is in use by the caller itself");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gcra, Hit, Limiter, ManualClock, Rate};

    struct NoClock;

    impl Clock for NoClock {
        fn now(&self) -> Timestamp {
            Timestamp::EPOCH
        }
    }

    #[test]
    fn is_as_small_as_documented() {
        assert_eq!(size_of::<Fixed<Gcra, NoClock, 32>>(), 32 * 32 + 40 + size_of::<usize>());
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
        let _held = storage.table.borrow_mut();
        let op = Op::Check(Hit::new(1));
        let answer = storage.apply(&Gcra::new(Rate::per_minute(1)), "key", &op, Timestamp::EPOCH);
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Contended);
        assert!(Storage::<Gcra>::load(&storage, "key").is_err());
        assert_eq!((storage.len(), storage.counters()), (0, Counters::default()));
    }
}

//! A storage with room for a fixed number of keys inline, for firmware: no heap, no lock.

use core::cell::RefCell;

use super::table::{Counters, Slot, Table, WhenFull};
use super::{ErrorKind, Storage, StorageError};
use crate::{Clock, Key, Op, Seed, Strategy, Timestamp};

/// Room for `N` keys, for use from one thread or core.
///
/// A full table gives up the key that is fresh soonest; see [`Fixed::when_full`].
#[derive(Debug)]
pub struct Fixed<S: Strategy, C, const N: usize> {
    table: RefCell<Table<S::State, [Slot<S::State>; N]>>,
    seed: Seed,
    clock: C,
}

impl<S: Strategy, C: Clock, const N: usize> Fixed<S, C, N> {
    /// An empty storage. `seed` keys the hash of the keys: take it from a random source wherever others
    /// choose the keys, else they could choose two that share a slot.
    #[must_use]
    pub fn new(clock: C, seed: u64) -> Self {
        let table = Table::new(core::array::from_fn(|_| Slot::default()), WhenFull::Evict);
        Self { table: RefCell::new(table), seed: Seed::new(seed), clock }
    }

    /// The same storage, empty, with this policy for when it is full.
    #[must_use]
    pub fn when_full(self, when_full: WhenFull) -> Self {
        let table = Table::new(core::array::from_fn(|_| Slot::default()), when_full);
        Self { table: RefCell::new(table), ..self }
    }

    /// Keys in use.
    pub fn len(&self) -> usize {
        self.table.borrow().len(self.clock.now())
    }

    /// Whether no key is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the table had to do for want of room.
    pub fn counters(&self) -> Counters {
        self.table.borrow().counters()
    }
}

impl<S: Strategy, C: Clock, const N: usize> Storage<S> for Fixed<S, C, N> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn apply<K: Key + ?Sized>(
        &self,
        limit: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        let digest = self.seed.digest(key);
        self.table.try_borrow_mut().map_err(|_| BUSY)?.apply(limit, digest, op, now)
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        let table = self.table.try_borrow().map_err(|_| BUSY)?;
        Ok(table.load(self.seed.digest(key), self.clock.now()))
    }
}

/// Only a strategy that calls back into its own storage could meet this.
const BUSY: StorageError =
    StorageError::new(ErrorKind::Contended, "the table is in use by the caller itself");

//! The operations on each key that wait for the next attempt.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use super::CompareAndSwap;
use super::operation::CasOperation;
use crate::util::mutex::lock;
use crate::util::shared_future::{SharedFuture, WeakSharedFuture};

/// The batches of all keys on which something is under way.
pub(super) struct Batches<W: CompareAndSwap> {
    pub(super) store: Arc<W>,
    open: Mutex<HashMap<Vec<u8>, (Arc<KeyBatch<W>>, WeakSharedFuture<()>)>>,
}

/// The waiting operations of one key.
pub(super) struct KeyBatch<W: CompareAndSwap> {
    pub(super) batches: Arc<Batches<W>>,
    pub(super) key: Vec<u8>,
    waiting: Mutex<WaitingOperations<W>>,
}

struct WaitingOperations<W> {
    /// The next operation's number: they are run in this order.
    next: u64,
    operations: Vec<(u64, Arc<dyn CasOperation<W>>)>,
}

impl<W: CompareAndSwap> Batches<W> {
    pub(super) fn new(store: Arc<W>) -> Arc<Self> {
        Arc::new(Self { store, open: Mutex::default() })
    }

    /// Returns how many keys have a batch.
    pub(super) fn len(&self) -> usize {
        lock(&self.open).len()
    }

    /// Adds an operation to the batch of its key, and returns that batch, its driver, and the operation's
    /// number in it. `drive` makes the driver of a batch that is new.
    pub(super) fn add(
        self: &Arc<Self>,
        key: Vec<u8>,
        operation: Arc<dyn CasOperation<W>>,
        drive: impl FnOnce(Arc<KeyBatch<W>>) -> SharedFuture<()>,
    ) -> (Arc<KeyBatch<W>>, SharedFuture<()>, u64) {
        let mut open = lock(&self.open);
        let place = open.entry(key);
        if let Entry::Occupied(known) = &place
            && let (batch, driver) = known.get()
            && let Some(driver) = driver.upgrade()
        {
            let number = batch.add(operation);
            return (Arc::clone(batch), driver, number);
        }
        let waiting = Mutex::new(WaitingOperations { next: 1, operations: vec![(0, operation)] });
        let batch = Arc::new(KeyBatch { batches: Arc::clone(self), key: place.key().clone(), waiting });
        let driver = drive(Arc::clone(&batch));
        let (number, entry) = (0, (Arc::clone(&batch), driver.downgrade()));
        let replaced = match place {
            Entry::Occupied(mut known) => Some(known.insert(entry)),
            Entry::Vacant(place) => {
                place.insert(entry);
                None
            }
        };
        // A strategy of a user's is never dropped within the lock.
        drop(open);
        drop(replaced);
        (batch, driver, number)
    }
}

impl<W: CompareAndSwap> KeyBatch<W> {
    fn add(&self, operation: Arc<dyn CasOperation<W>>) -> u64 {
        let mut waiting = lock(&self.waiting);
        let number = waiting.next;
        waiting.next += 1;
        waiting.operations.push((number, operation));
        number
    }

    /// Removes an operation if it waits.
    pub(super) fn remove(&self, number: u64) {
        let mut waiting = lock(&self.waiting);
        let place = waiting.operations.binary_search_by_key(&number, |(number, _)| *number);
        let removed = place.map(|place| waiting.operations.remove(place));
        drop(waiting);
        drop(removed);
    }

    /// Takes all operations that wait, the first one first.
    pub(super) fn drain(&self) -> impl Iterator<Item = Arc<dyn CasOperation<W>>> + use<W> {
        let operations = std::mem::take(&mut lock(&self.waiting).operations);
        operations.into_iter().map(|(_, operation)| operation)
    }

    /// Closes the batch unless operations wait, and returns whether it did. The next operation on the key
    /// begins another.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut open = lock(&self.batches.open);
        let is_empty = lock(&self.waiting).operations.is_empty();
        if is_empty
            && let Some((key, known)) = open.remove_entry(&self.key)
            && !std::ptr::eq(&*known.0, self)
        {
            open.insert(key, known);
        }
        is_empty
    }
}

//! The waiting operations of each key, in batches.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};

use super::CompareAndSwap;
use super::operation::CasOperation;
use crate::util::mutex::lock;
use crate::util::shared_future::{SharedFuture, WeakSharedFuture};

/// The batches of all keys with an operation under way.
///
/// Lock order: `open` before a batch's `waiting`. Only [`Batches::add`] and `close_if_empty` take both, so
/// a batch is never closed while an operation joins it.
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

/// The operations of a batch that no attempt has taken yet.
struct WaitingOperations<W> {
    /// The number of the next operation. Operations run in this order.
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

    /// Adds an operation to the batch of its key. Returns that batch, its driver, and the operation's
    /// number in it. `drive` makes the driver of a new batch.
    pub(super) fn add(
        self: &Arc<Self>,
        key: Vec<u8>,
        operation: Arc<dyn CasOperation<W>>,
        drive: impl FnOnce(Arc<KeyBatch<W>>) -> SharedFuture<()>,
    ) -> (Arc<KeyBatch<W>>, SharedFuture<()>, u64) {
        let mut open = lock(&self.open);
        let place = open.entry(key);
        // A driver that cannot be upgraded has ended or was dropped: its batch takes no more operations.
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
        // `replaced` holds operations of a driver that was dropped. Dropping one drops a user's strategy,
        // which may call back, so it is dropped without the lock.
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

    /// Removes an operation if it still waits.
    pub(super) fn remove(&self, number: u64) {
        let mut waiting = lock(&self.waiting);
        // Numbers only grow, so the list is sorted and the search is binary.
        let place = waiting.operations.binary_search_by_key(&number, |(number, _)| *number);
        let removed = place.map(|place| waiting.operations.remove(place));
        drop(waiting);
        drop(removed);
    }

    /// Takes all waiting operations, the oldest first.
    pub(super) fn drain(&self) -> impl Iterator<Item = Arc<dyn CasOperation<W>>> + use<W> {
        let operations = std::mem::take(&mut lock(&self.waiting).operations);
        operations.into_iter().map(|(_, operation)| operation)
    }

    /// Closes the batch if no operation waits, and returns whether it did. The next operation on the key
    /// starts a new batch.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut open = lock(&self.batches.open);
        let is_empty = lock(&self.waiting).operations.is_empty();
        // The key may belong to a newer batch by now, which stays.
        if is_empty
            && let Some((key, known)) = open.remove_entry(&self.key)
            && !std::ptr::eq(&*known.0, self)
        {
            open.insert(key, known);
        }
        is_empty
    }
}

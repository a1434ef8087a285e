//! Ways to use a storage of firmware from several places.

use core::cell::RefCell;

use super::{ErrorKind, StorageError, WaitQueue};
use crate::{ErasedKey, Seed};

/// A way to use a storage of firmware from several places: [`SingleThread`], or `Shared`.
pub trait Access: sealed::Sealed + 'static {
    /// Whether others wait while a value is in use: then all that can be done before is done before.
    const IS_AWAITED: bool;

    /// Holds a value that one user at a time changes.
    type Cell<T>;

    /// Holds those who wait, for storages that name their keys in this way.
    type Queue<K: Naming>;

    /// Runs a function on a value. Fails with [`Contended`](ErrorKind::Contended) if the caller itself is
    /// using it.
    fn with<T, R>(
        cell: &Self::Cell<T>,
        run: impl FnOnce(&mut T) -> Result<R, StorageError>,
    ) -> Result<R, StorageError>;

    /// Returns the queue, if there is room in it.
    fn queue<K: Naming>(queue: &Self::Queue<K>) -> Option<&dyn WaitQueue>;

    /// Names keys in another way from now on.
    fn rename<K: Naming>(queue: &Self::Queue<K>, names: K);
}

/// The way in which a queue tells its keys apart.
pub trait Naming: Clone + Send + 'static {
    /// Returns the name of a key.
    fn name(&self, key: &dyn ErasedKey) -> u64;
}

/// By a keyed hash.
impl Naming for Seed {
    fn name(&self, key: &dyn ErasedKey) -> u64 {
        self.digest(key).as_u64()
    }
}

/// By a hash without a secret: there is one key, and each class waits for it in a line of its own.
impl Naming for () {
    fn name(&self, key: &dyn ErasedKey) -> u64 {
        const SEED: Seed = Seed::new(0);
        SEED.digest(key).as_u64()
    }
}

pub(super) mod sealed {
    pub trait Sealed {}
    impl Sealed for super::SingleThread {}
}

/// Access from one thread or core, and from no interrupt: the default. Nobody stands in a queue.
#[derive(Debug)]
pub enum SingleThread {}

impl Access for SingleThread {
    const IS_AWAITED: bool = false;

    type Cell<T> = RefCell<T>;
    type Queue<K: Naming> = ();

    #[inline]
    fn with<T, R>(
        cell: &RefCell<T>,
        run: impl FnOnce(&mut T) -> Result<R, StorageError>,
    ) -> Result<R, StorageError> {
        run_in(cell, run)
    }

    fn queue<K: Naming>((): &()) -> Option<&dyn WaitQueue> {
        None
    }

    fn rename<K: Naming>((): &(), _: K) {}
}

/// Runs a function on the value of a cell.
#[inline]
pub(super) fn run_in<T, R>(
    cell: &RefCell<T>,
    run: impl FnOnce(&mut T) -> Result<R, StorageError>,
) -> Result<R, StorageError> {
    match cell.try_borrow_mut() {
        Ok(mut value) => run(&mut value),
        Err(_) => Err(BUSY),
    }
}

/// Only a strategy that calls back into its own storage could meet this.
const BUSY: StorageError =
    StorageError::new(ErrorKind::Contended, "the storage is in use by the caller itself");

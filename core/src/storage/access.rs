//! The ways in which a storage of firmware can be used from several places.

use core::cell::RefCell;

use super::{ErrorKind, StorageError, WaitQueue};
use crate::{ErasedKey, Seed};

/// The way in which a storage of firmware can be used from several places: [`SingleThread`] or `Shared`.
///
/// It is a type parameter of [`Fixed`](crate::Fixed) and [`OneKey`](crate::OneKey), chosen by the
/// constructor:
///
/// ```
/// use traffik::{Fixed, Gcra, ManualClock};
///
/// let single = Fixed::<Gcra, _, 8>::new(ManualClock::default(), 1);
/// # #[cfg(feature = "critical-section")]
/// let shared = Fixed::<Gcra, _, 8, traffik::Shared<4>>::shared(ManualClock::default(), 1);
/// assert!(single.is_empty());
/// ```
pub trait Access: sealed::Sealed + 'static {
    /// Whether others wait while a value is in use. A storage then hashes keys before it takes the value.
    const IS_AWAITED: bool;

    /// The cell of a value that one user at a time changes.
    type Cell<T>;

    /// The queue of waiters, for storages that name their keys in this way.
    type Queue<K: Naming>;

    /// Runs a function on a value.
    ///
    /// # Errors
    ///
    /// Fails with [`Contended`](ErrorKind::Contended) if the caller itself is using the value; otherwise as
    /// `run` does.
    fn with<T, R>(
        cell: &Self::Cell<T>,
        run: impl FnOnce(&mut T) -> Result<R, StorageError>,
    ) -> Result<R, StorageError>;

    /// Returns the queue, if it has room for any waiter.
    fn queue<K: Naming>(queue: &Self::Queue<K>) -> Option<&dyn WaitQueue>;

    /// Names keys in another way from now on.
    fn rename<K: Naming>(queue: &Self::Queue<K>, names: K);
}

/// The way in which a queue tells its keys apart.
pub trait Naming: Clone + Send + 'static {
    /// Returns the name of a key.
    fn name(&self, key: &dyn ErasedKey) -> u64;
}

/// The keyed hash of a storage of several keys.
impl Naming for Seed {
    fn name(&self, key: &dyn ErasedKey) -> u64 {
        self.digest(key).as_u64()
    }
}

/// A hash without a secret: there is one key, and each class waits for it in a queue of its own.
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

/// Access from one thread or core, and from no interrupt: the default, which has no queue of waiters.
///
/// ```
/// use traffik::storage::SingleThread;
/// use traffik::{Fixed, Gcra, Limiter, ManualClock, rate};
///
/// let storage: Fixed<Gcra, ManualClock, 8, SingleThread> = Fixed::new(ManualClock::default(), 1);
/// assert!(Limiter::new(Gcra::new(rate!("1/s")), storage).check("key")?.is_allowed());
/// # Ok::<(), traffik::StorageError>(())
/// ```
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

/// The error of a strategy that calls back into its own storage; nothing else causes it.
const BUSY: StorageError =
    StorageError::new(ErrorKind::Contended, "the storage was called from within one of its own calls");

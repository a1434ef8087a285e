//! Mutexes whose contents every holder leaves whole, also one that panics.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, whether a holder has panicked or not.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

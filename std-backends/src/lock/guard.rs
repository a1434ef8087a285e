//! The guard of a lock that is held.

use std::sync::Arc;

use traffik_core::storage::BackendError;
use traffik_core::{ErrorKind, debug_fields};

use super::grant::quoted;
use super::{Grant, Lock, Ttl};

/// A lock that is held until it is released or its TTL ends, whichever is first.
///
/// [`Locks`](super::Locks) returns it. Call [`release`](Self::release) to be certain that it has ended.
///
/// * Dropping it sends the release without waiting for the answer. A lock of this process is then free. On
///   a store whose release must be awaited, the lock may end only with its TTL.
/// * It does not notice the end of its TTL. [Renew](Self::renew) it in time, and let the protected resource
///   refuse smaller [fencing](Self::fencing) tokens.
///
/// ```
/// use traffik::lock::{Locks, MemoryLock};
/// use traffik::runtime::Manual;
/// use traffik::storage::BackendError;
///
/// let runtime = Manual::new();
/// let locks = Locks::new(MemoryLock::new(), runtime.clone());
/// runtime.run(async {
///     let guard = locks.lock("invoices/7").await?;
///     guard.renew().await?; // in the middle of long work
///     guard.release().await?;
///     assert!(locks.try_lock("invoices/7").await?.is_some());
///     Ok::<(), BackendError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a lock that is dropped is released"]
pub struct LockGuard<L: Lock + ?Sized> {
    lock: Arc<L>,
    grant: Grant,
    ttl: Ttl,
    released_on_drop: bool,
}

impl<L: Lock + ?Sized> LockGuard<L> {
    pub(super) const fn new(lock: Arc<L>, grant: Grant, ttl: Ttl) -> Self {
        Self { lock, grant, ttl, released_on_drop: true }
    }

    /// Returns the fencing token, which is larger than that of every earlier grant of this name.
    #[must_use]
    pub const fn fencing(&self) -> u64 {
        self.grant.fencing()
    }

    /// Returns the grant.
    #[must_use]
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Returns the time that the lock lasts from when it was granted or renewed.
    #[must_use]
    pub const fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// Renews the lock for its whole TTL from now.
    ///
    /// It waits for the store only. After a dropped future the lock may or may not be renewed.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Contended`] if the lock had ended, so that somebody else may hold it; or with
    /// the failure of the store.
    pub async fn renew(&self) -> Result<(), BackendError> {
        if self.lock.renew(&self.grant, self.ttl).await? { Ok(()) } else { Err(self.lost("renewed")) }
    }

    /// Releases the lock.
    ///
    /// It waits for the store only. After a dropped future the lock ends with its TTL at the latest.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Contended`] if the lock had ended before, so that somebody else may have
    /// held it meanwhile. Fails with the failure of the store; the lock then ends with its TTL at the latest.
    pub async fn release(self) -> Result<(), BackendError> {
        let lost = self.lost("released");
        let lock = Arc::clone(&self.lock);
        if lock.release(self.into_grant()).await? { Ok(()) } else { Err(lost) }
    }

    /// Returns the bare grant. Only its TTL ends it, unless you [release](Lock::release) it.
    #[must_use]
    pub fn into_grant(mut self) -> Grant {
        self.released_on_drop = false;
        self.grant.clone()
    }

    /// Returns the lock and the bare grant.
    pub(crate) fn into_parts(self) -> (Arc<L>, Grant) {
        (Arc::clone(&self.lock), self.into_grant())
    }

    fn lost(&self, what: &str) -> BackendError {
        let name = quoted(self.grant.name());
        let message =
            format!("the lock {name} ended before it was {what}; give it a TTL above {:?}", self.ttl.get());
        BackendError::new(ErrorKind::Contended, message)
    }
}

impl<L: Lock + ?Sized> Drop for LockGuard<L> {
    fn drop(&mut self) {
        if self.released_on_drop {
            drop(self.lock.release(self.grant.clone()));
        }
    }
}

debug_fields!([L: Lock + ?Sized] LockGuard<L>: grant, ttl);

//! A lock that is held, as a value.

use std::sync::Arc;

use traffik_core::storage::BackendError;
use traffik_core::{ErrorKind, debug_fields};

use super::grant::quoted;
use super::{Grant, Lock, Ttl};

/// A lock in hand, until it is released or its TTL is over, whichever is first.
///
/// * Dropping it asks for its release without waiting for an answer. A lock of this process is then free; one whose
///   release takes awaiting may not be, and ends with its TTL. [`release`](Self::release) is for certain.
/// * That its TTL is over is not told to whoever holds it: renew in time, and let [`fencing`](Self::fencing) tell
///   those apart who come too late.
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

    /// The fencing token: larger than that of every grant of this name before it.
    #[must_use]
    pub const fn fencing(&self) -> u64 {
        self.grant.fencing()
    }

    /// What was granted.
    #[must_use]
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// How long it lasts from when it was granted or renewed.
    #[must_use]
    pub const fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// Lets it last for its whole TTL again from now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Contended`] if it had ended, so that somebody else may be in; or what the store failed with.
    pub async fn renew(&self) -> Result<(), BackendError> {
        if self.lock.renew(&self.grant, self.ttl).await? { Ok(()) } else { Err(self.lost("renewed")) }
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Contended`] if it had ended before, so that somebody else may have been in meanwhile; or what the
    /// store failed with, and it then ends with its TTL.
    pub async fn release(self) -> Result<(), BackendError> {
        let lost = self.lost("released");
        let lock = Arc::clone(&self.lock);
        if lock.release(self.into_grant()).await? { Ok(()) } else { Err(lost) }
    }

    /// The bare grant, which nothing but its TTL ends unless it is [released](Lock::release) by hand.
    #[must_use]
    pub fn into_grant(mut self) -> Grant {
        self.released_on_drop = false;
        self.grant.clone()
    }

    /// The lock and the bare grant, to end it by hand.
    pub(crate) fn into_parts(self) -> (Arc<L>, Grant) {
        (Arc::clone(&self.lock), self.into_grant())
    }

    fn lost(&self, what: &str) -> BackendError {
        let name = quoted(self.grant.name());
        let message =
            format!("the lock {name} ended before it was {what}: give it more than {:?}", self.ttl.get());
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

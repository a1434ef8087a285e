//! Locks for your own critical sections, across threads or, with a shared store, across machines.
//!
//! A [`Lock`] is what a store implements: it grants a name once, renews the grant and releases it.
//! [`Locks`] is what you use: it waits as long as its [`LockSettings`] say, and returns a guard,
//! [`LockGuard`].
//!
//! * Every grant ends after its [`Ttl`]. A holder that dies blocks others no longer than that.
//! * Every grant of a name has a larger *fencing token* than the grants before it. A grant can end while its
//!   holder is paused. So pass the token to the protected resource, which must refuse a token smaller than
//!   the largest it has seen.
//!
//! ```
//! use std::time::Duration;
//! use traffik::lock::{LockSettings, Locks, MemoryLock};
//! use traffik::runtime::Manual;
//! use traffik::storage::BackendError;
//!
//! let runtime = Manual::new(); // in a program `Tokio` or `Smol`
//! let settings = LockSettings::new().ttl(Duration::from_secs(10)).blocking_timeout(Duration::from_secs(1));
//! let locks = Locks::new(MemoryLock::new(), runtime.clone()).with(settings);
//!
//! runtime.run(async {
//!     let guard = locks.lock("invoices/7").await?; // waits at most 1 s
//!     assert!(locks.try_lock("invoices/7").await?.is_none());
//!     let token = guard.fencing();
//!     guard.release().await?;
//!     assert!(locks.lock("invoices/7").await?.fencing() > token);
//!     Ok::<(), BackendError>(())
//! })??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::future::pending;
use std::sync::Arc;

use traffik_core::storage::{BoxFuture, Reply};

mod effective;
mod environment;
mod error;
mod grant;
mod guard;
mod locks;
mod memory;
mod settings;
mod storage;

pub use effective::{defaults, set_defaults};
pub use environment::{BLOCKING, BLOCKING_TIMEOUT, TTL};
pub use grant::{Grant, Ttl};
pub use guard::LockGuard;
pub use locks::Locks;
pub use memory::MemoryLock;
pub use settings::LockSettings;
pub use storage::{KeyValueStore, LockedStorage};

// Types that appear in signatures; users seldom name them.
#[doc(hidden)]
pub use effective::EffectiveSettings;
#[doc(hidden)]
pub use error::SettingsError;
#[doc(hidden)]
pub use grant::Owner;

/// Grants names to one holder at a time, for a [`Ttl`].
///
/// Implement it for a store of your own; to take locks, use [`Locks`] around one. [`MemoryLock`] is the
/// lock of one process.
///
/// * A name MUST NOT be granted while an earlier grant of it has neither ended nor been released.
/// * A grant MUST end once its [`Ttl`] is over, even if no further call is made.
/// * The fencing token of a grant MUST be larger than those of all earlier grants of that name.
/// * Renewing and releasing MUST have no effect unless that very grant still holds the name.
/// * A name is any bytes, even none. Different bytes MUST be different names.
/// * A call MUST read the name and the grant before it returns; the answer owns all it needs.
/// * A call MUST NOT need an async runtime, though awaiting its answer may. An answer may be dropped.
///
/// ```
/// use std::time::Duration;
/// use traffik::lock::{Lock, MemoryLock, Ttl};
/// use traffik::runtime::Manual;
/// use traffik::storage::BackendError;
///
/// let (lock, ttl) = (MemoryLock::new(), Ttl::new(Duration::from_secs(5))?);
/// Manual::new().run(async {
///     let grant = lock.try_acquire(b"invoices/7", ttl).await?.expect("the name is free");
///     assert!(lock.try_acquire(b"invoices/7", ttl).await?.is_none());
///     assert!(lock.renew(&grant, ttl).await? && lock.release(grant).await?);
///     Ok::<(), BackendError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Lock: Send + Sync {
    /// Grants a name if nobody holds it; returns `None` if somebody does. Never waits for the holder.
    ///
    /// It waits for the store only. After a dropped answer the store may have granted the name, until its
    /// TTL ends.
    ///
    /// # Errors
    ///
    /// Fails with the failure of the store. After [`Timeout`](traffik_core::ErrorKind::Timeout) the name may
    /// be granted, until its TTL ends.
    fn try_acquire(&self, name: &[u8], ttl: Ttl) -> Reply<Option<Grant>>;

    /// Extends a grant to `ttl` from now. Returns false if the grant had ended, so that somebody else may
    /// hold the name.
    ///
    /// It waits for the store only. After a dropped answer the grant may or may not be extended.
    ///
    /// # Errors
    ///
    /// Fails with the failure of the store. After [`Timeout`](traffik_core::ErrorKind::Timeout) the grant may
    /// or may not be extended.
    fn renew(&self, grant: &Grant, ttl: Ttl) -> Reply<bool>;

    /// Ends a grant. Returns false if the grant had ended before, so that somebody else may have held the
    /// name meanwhile.
    ///
    /// It waits for the store only. After a dropped answer the grant ends with its TTL at the latest.
    ///
    /// # Errors
    ///
    /// Fails with the failure of the store. The grant then ends with its TTL at the latest.
    fn release(&self, grant: Grant) -> Reply<bool>;

    /// Completes when it is worth trying to acquire a name again: a hint for waiters.
    ///
    /// It may complete too early, too late or never. Defaults to never. A dropped future leaves nothing
    /// behind.
    fn vacated(&self, name: &[u8]) -> BoxFuture<'static, ()> {
        let _ = name;
        Box::pin(pending())
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: Lock + ?Sized> Lock for Arc<T> {
    fn try_acquire(&self, name: &[u8], ttl: Ttl) -> Reply<Option<Grant>> {
        (**self).try_acquire(name, ttl)
    }

    fn renew(&self, grant: &Grant, ttl: Ttl) -> Reply<bool> {
        (**self).renew(grant, ttl)
    }

    fn release(&self, grant: Grant) -> Reply<bool> {
        (**self).release(grant)
    }

    fn vacated(&self, name: &[u8]) -> BoxFuture<'static, ()> {
        (**self).vacated(name)
    }
}

//! Locks for critical sections of your own, across threads or machines.
//!
//! [`Locks`] waits for a lock and returns a guard. It keeps the locks in a [`Lock`] that you choose:
//!
//! | to exclude | choose |
//! |---|---|
//! | threads and tasks of one process | [`MemoryLock`] |
//! | processes, by one Redis | [`RedisLock`] |
//! | processes, by a majority of independent Redis servers | [`Redlock`] |
//! | processes, by Memcached | [`MemcachedLock`] |
//!
//! Every grant ends after its [`Ttl`], so a holder that dies blocks others for at most that long. Every grant
//! has a fencing token, larger than those of earlier grants of its name. Pass the token to the resource that
//! the lock protects, and let the resource refuse a token smaller than the largest it has seen.
//!
//! ```
//! # #[cfg(feature = "manual")] {
//! use traffik::lock::{Locks, MemoryLock};
//! use traffik::runtime::Manual; // in a program: `Tokio` or `Smol`
//!
//! let runtime = Manual::new();
//! let locks = Locks::new(MemoryLock::new(), runtime.clone());
//! runtime.run(async {
//!     let guard = locks.lock("invoices/7").await?;
//!     assert!(locks.try_lock("invoices/7").await?.is_none());
//!     guard.release().await
//! })??;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`LockedStorage`] makes a storage for limits from a lock and a store that can get and set.

#[cfg(feature = "memcached")]
#[doc(inline)]
pub use traffik_backends::MemcachedLock;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use traffik_backends::RedisLock;
#[cfg(all(feature = "redis", any(feature = "smol", feature = "tokio")))]
#[doc(inline)]
pub use traffik_backends::Redlock;
#[doc(inline)]
pub use traffik_backends::lock::{
    BLOCKING, BLOCKING_TIMEOUT, Grant, KeyValueStore, Lock, LockGuard, LockSettings, LockedStorage, Locks,
    MemoryLock, TTL, Ttl, defaults, set_defaults,
};

// Types of signatures.
#[doc(inline)]
pub use traffik_backends::lock::{EffectiveSettings, Owner, SettingsError};

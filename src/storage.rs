//! The storages, and the interface for one of your own.
//!
//! A storage keeps the state of each key, and runs a [strategy](crate::strategy) on it atomically.
//!
//! | to limit | choose |
//! |---|---|
//! | one process | [`Memory`]: a fixed number of keys, with a lock per shard |
//! | one process, with several strategies and one budget of keys | [`SharedMemory`] |
//! | several processes or hosts | [`RedisStorage`]: Redis, a server with its protocol, or a cluster |
//! | the same, on Memcached | [`MemcachedStorage`] |
//! | the same, on a store that can only get and set | [`LockedStorage`](crate::LockedStorage) under a lock |
//! | the same, on a store that can compare and swap | [`cas`](crate::cas) |
//! | firmware, or a program without a heap | [`Fixed`]; [`OneKey`] for a limit without keys |
//!
//! Calls to a server can fail: put [layers](crate::layer) around such a storage.
//!
//! ```
//! use traffik::storage::Memory;
//! use traffik::{Gcra, Limiter, rate};
//!
//! let limiter = Limiter::new(Gcra::new(rate!("1/s")), Memory::new(10_000)); // at most 10 000 keys
//! assert!(limiter.check("sensor-7")?.is_allowed());
//! assert!(!limiter.check("sensor-7")?.is_allowed());
//! # Ok::<(), traffik::StorageError>(())
//! ```
//!
//! A storage of your own implements [`Storage`], or [`AsyncStorage`] if it has to wait. [`Local`] makes an
//! asynchronous storage of a synchronous one.

#[cfg(feature = "critical-section")]
#[doc(inline)]
pub use traffik_core::storage::Shared;
#[cfg(all(any(feature = "alloc", feature = "std"), target_has_atomic = "ptr"))]
#[doc(inline)]
pub use traffik_core::storage::{
    AsyncStorage, BackendError, BoxFuture, DynStorage, Local, MultiKeyReply, Reply,
};
#[doc(inline)]
pub use traffik_core::storage::{ErrorKind, Fixed, OneKey, Storage, StorageError, WhenFull};

#[cfg(feature = "memcached")]
#[doc(inline)]
pub use traffik_backends::{MemcachedBuilder, MemcachedStorage};
#[cfg(feature = "std")]
#[doc(inline)]
pub use traffik_backends::{Memory, MemoryBuilder, SharedMemory};
#[cfg(feature = "redis")]
#[doc(inline)]
pub use traffik_backends::{RedisBuilder, RedisStorage};

// Types of signatures.
#[doc(inline)]
pub use traffik_core::storage::{
    Access, Counters, DelayLine, DelayTurn, MultiKeyVerdict, NarrowTag, ReturningTurn, SingleThread, Slot,
    SlotTag, Table, Tables, Ticket, WaitQueue, WideTag,
};

#[doc(hidden)]
pub use traffik_core::storage::*;

//! The storages of traffik that need an operating system, and its clocks.
//!
//! ```
//! use traffik::{Limiter, Memory, TokenBucket, rate};
//!
//! let limiter = Limiter::new(TokenBucket::new(rate!("100/min")), Memory::new(10_000));
//! assert!(limiter.check("alice")?.is_allowed());
//! # Ok::<(), traffik::StorageError>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

pub mod cas;
mod clock;
mod fifo_queue;
pub mod layer;
#[cfg(feature = "locks")]
pub mod lock;
#[cfg(feature = "memcached")]
mod memcached;
mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
pub mod reexport;
mod util;

pub use clock::{CoarseClock, MonotonicClock, SystemClock};
pub use fifo_queue::FifoQueue;
#[cfg(feature = "locks")]
pub use lock::{KeyValueStore, LockedStorage};
#[cfg(all(feature = "locks", feature = "memcached"))]
pub use memcached::MemcachedLock;
#[cfg(feature = "memcached")]
pub use memcached::{MemcachedBuilder, MemcachedStorage};
pub use memory::{Memory, MemoryBuilder, SharedMemory};
#[cfg(all(feature = "locks", feature = "redis"))]
pub use redis::RedisLock;
#[cfg(all(feature = "locks", feature = "redis", any(feature = "smol", feature = "tokio")))]
pub use redis::Redlock;
#[cfg(feature = "redis")]
pub use redis::{RedisBuilder, RedisStorage};

// Types that appear in signatures; users seldom name them.
#[doc(hidden)]
pub use memory::{AnyOf, DeniedKey, KeyUsage, SnapshotError};
#[doc(hidden)]
#[cfg(all(feature = "redis", any(feature = "smol", feature = "tokio")))]
pub use redis::ServerAddress;

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

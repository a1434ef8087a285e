// In these docs no file lies beside the README: its links lead to the definitions that come first.
#![doc = include_str!("guide/links.md")]
#![doc = include_str!("readme_links.md")]
#![doc = ""]
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(docsrs, doc(auto_cfg(hide(target_has_atomic = "ptr"))))]
#![cfg_attr(not(feature = "std"), no_std)]

// Each item is listed, so that these docs show its page with the features that it needs: first those that
// users name, then the types of signatures. A glob could not replace the lists, since it shows no features.

#[cfg(feature = "std")]
pub mod cas;
#[cfg(feature = "std")]
pub mod layer;
#[cfg(feature = "locks")]
pub mod lock;
#[cfg(any(feature = "async-std", feature = "manual", feature = "smol", feature = "tokio"))]
pub mod runtime;
pub mod storage;
pub mod strategy;
#[cfg(feature = "http")]
#[doc(alias = "http")]
pub mod web;

#[cfg(all(any(feature = "alloc", feature = "std"), target_has_atomic = "ptr"))]
#[doc(inline)]
pub use traffik_core::AsyncLimiter;
#[cfg(feature = "embassy-time")]
#[doc(inline)]
pub use traffik_core::EmbassyClock;
#[cfg(any(feature = "alloc", feature = "std"))]
#[doc(inline)]
pub use traffik_core::HeapLog;
#[cfg(feature = "serde")]
#[doc(inline)]
pub use traffik_core::serialize;
#[doc(inline)]
pub use traffik_core::{
    Adaptive, All, CapacityError, Class, Clock, Composite, Cost, CostBased, Decision, Erased, ErasedKey,
    ErrorKind, FairShare, Fixed, FixedWindow, Gcra, Hit, Hours, Key, Label, LeakyBucket, LeakyBucketQueue,
    Limiter, ManualClock, OneKey, Op, Origin, Outcome, Priority, QuotaRollover, Rate, RateError, Ratio,
    Receipt, Regions, Scale, SlidingLog, SlidingWindow, State, Storage, StorageError, Strategy,
    StrategyError, StrictWindow, Tiered, TimeOfDay, Timer, Timestamp, TokenBucket, Verdict, WaitError, rate,
};
#[cfg(feature = "critical-section")]
#[doc(inline)]
pub use traffik_core::{SettableClock, Shared, TickClock};
#[cfg(feature = "laws")]
#[doc(inline)]
pub use traffik_core::{every_strategy, laws};

// Types of signatures.
#[doc(inline)]
pub use traffik_core::{Digest, EpochClock, RateErrorKind, RatioError, Receipts, Seed};

#[cfg(all(feature = "locks", feature = "memcached"))]
#[doc(inline)]
pub use traffik_backends::MemcachedLock;
#[cfg(all(feature = "locks", feature = "redis"))]
#[doc(inline)]
pub use traffik_backends::RedisLock;
#[cfg(all(feature = "locks", feature = "redis", any(feature = "smol", feature = "tokio")))]
#[doc(inline)]
pub use traffik_backends::Redlock;
#[cfg(feature = "std")]
#[doc(inline)]
pub use traffik_backends::{
    CoarseClock, FifoQueue, Memory, MemoryBuilder, MonotonicClock, SharedMemory, SystemClock,
};
#[cfg(feature = "locks")]
#[doc(inline)]
pub use traffik_backends::{KeyValueStore, LockedStorage};
#[cfg(feature = "memcached")]
#[doc(inline)]
pub use traffik_backends::{MemcachedBuilder, MemcachedStorage};
#[cfg(feature = "redis")]
#[doc(inline)]
pub use traffik_backends::{RedisBuilder, RedisStorage, reexport};

// Types of signatures.
#[cfg(all(feature = "redis", any(feature = "smol", feature = "tokio")))]
#[doc(inline)]
pub use traffik_backends::ServerAddress;
#[cfg(feature = "std")]
#[doc(inline)]
pub use traffik_backends::{AnyOf, DeniedKey, KeyUsage, SnapshotError};

#[doc(hidden)]
pub use traffik_core::*;

#[cfg(any(doc, doctest))]
pub mod guide;

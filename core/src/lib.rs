//! Rate limiting as pure functions: every algorithm of traffik, without an operating system.
//!
//! A [`Strategy`] decides on one [`Hit`] from a [`State`] and the time. It reads no clock, draws no random
//! number and uses integers only. It allocates nothing, except for `HeapLog` (feature `alloc`). A [`Storage`]
//! runs it atomically for one key. A [`Limiter`] puts the two together:
//!
//! ```
//! use traffik::{Fixed, Gcra, Limiter, ManualClock, Rate, Timestamp};
//!
//! let clock = ManualClock::new(Timestamp::EPOCH);
//! // Room for 32 keys, inline: no heap. The seed keys the hash, so take it from a random source.
//! let storage = Fixed::<Gcra, _, 32>::new(&clock, 0x5eed);
//! let limiter = Limiter::new(Gcra::new(Rate::per_second(1)), storage);
//!
//! assert!(limiter.check("sensor-7")?.is_allowed());
//! let denied = limiter.check("sensor-7")?;
//! assert_eq!(denied.retry_after(), Some(core::time::Duration::from_secs(1)));
//! # Ok::<(), traffik::StorageError>(())
//! ```
//!
//! Depend on the crate `traffik`, which contains this one, also in firmware: with `default-features = false`
//! it is no more than this crate. Its guide `traffik::guide::firmware` has the manifest, clocks, storages,
//! costs and resets.
//!
//! | question | answer |
//! |---|---|
//! | How much in what time? | [`Rate`] |
//! | What time is it? | [`Timestamp`], [`Clock`] |
//! | Who is asking? | [`Key`] |
//! | How is it decided? | [`Strategy`] and [`strategy`] |
//! | What was decided? | [`Decision`], [`Outcome`] |
//! | Where are states kept? | [`Storage`] and [`storage`] |
//! | How do I use it? | [`Limiter`] |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;

#[macro_use]
mod shorthand;

mod capacity;
mod decision;
mod divide;
mod error;
#[cfg(feature = "defmt")]
mod format;
mod hit;
mod hours;
mod key;
#[cfg(feature = "laws")]
pub mod laws;
mod limiter;
mod op;
mod origin;
mod outcome;
#[cfg(feature = "alloc")]
mod owned;
mod rate;
mod ratio;
mod receipt;
#[cfg(feature = "serde")]
pub mod serialize;
pub mod storage;
pub mod strategy;
mod time;

pub use decision::{Decision, Verdict};
pub use key::{ErasedKey, Key};
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use limiter::AsyncLimiter;
pub use limiter::{Limiter, WaitError};
pub use origin::Origin;
pub use outcome::Outcome;
pub use rate::{Rate, RateError};
pub use ratio::Ratio;
pub use receipt::Receipt;
#[cfg(feature = "critical-section")]
pub use storage::Shared;
pub use storage::{ErrorKind, Fixed, OneKey, Storage, StorageError};
pub use strategy::plain::*;
pub use strategy::{
    All, CapacityError, Class, Composite, Cost, Erased, Hit, Hours, Label, Op, Priority, Scale, State,
    Strategy, StrategyError, Tiered, TimeOfDay,
};
#[cfg(feature = "embassy-time")]
pub use time::EmbassyClock;
pub use time::{Clock, ManualClock, Timer, Timestamp};
#[cfg(feature = "critical-section")]
pub use time::{SettableClock, TickClock};

// Types of signatures that users do not name.
#[doc(hidden)]
pub use {
    key::hash::{Digest, Seed},
    rate::RateErrorKind,
    ratio::RatioError,
    receipt::Receipts,
    shorthand::shown,
    time::EpochClock,
};

/// The programs of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

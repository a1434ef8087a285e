//! Rate limiting as pure functions: every algorithm of traffik, without an operating system.
//!
//! A [`Strategy`] decides on one [`Hit`] given a [`State`] and the time; it reads no clock, draws no random
//! number, allocates nothing and uses integers only. A [`Storage`] runs it atomically for one key. A
//! [`Limiter`] puts the two together:
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
//! In firmware take the crate `traffik` with `default-features = false`; its guide `traffik::guide::firmware`
//! has the manifest, clocks, storages, costs and resets.
//!
//! | question | file |
//! |---|---|
//! | how much in how long? | [`Rate`] |
//! | what time is it? | [`Timestamp`], [`Clock`] |
//! | who is asking? | [`Key`] |
//! | how is it decided? | [`Strategy`] and [`strategy`] |
//! | what was decided? | [`Decision`], [`Outcome`] |
//! | where is it remembered? | [`Storage`] and [`storage`] |
//! | how do I use it? | [`Limiter`] |
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

// What stands in signatures, and nobody has to name.
#[doc(hidden)]
pub use {
    key::{Digest, Seed},
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

//! What traffik asks of an async runtime, and one small shim for each.
//!
//! No other part of traffik names a runtime: whoever needs to wait is given a [`Runtime`], and whoever needs a server a
//! runtime that can [`Connect`]. None is ever chosen for you.
//!
//! | runtime | feature | |
//! |---|---|---|
//! | `Tokio` | `tokio` | |
//! | `Smol` | `smol` | |
//! | `AsyncStd` | `async-std` | discontinued by its authors; for programs that are built on it |
//! | `Manual` | `manual` | virtual time, for tests |
//!
//! Firmware has neither sockets nor a way to spawn whatever future comes, so embassy is no such runtime: its time is in
//! `traffik-core`, as `EmbassyTimer` and `EmbassyClock`, where a limiter can wait by it.
#![forbid(unsafe_code)]

#[cfg(feature = "async-std")]
mod async_std;
mod connect;
mod interval;
#[cfg(feature = "manual")]
mod manual;
mod runtime;
#[cfg(feature = "smol")]
mod smol;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "async-std")]
pub use crate::async_std::AsyncStd;
#[cfg(feature = "smol")]
pub use crate::smol::Smol;
#[cfg(feature = "tokio")]
pub use crate::tokio::Tokio;
pub use connect::Connect;
pub use interval::Interval;
#[cfg(feature = "manual")]
pub use manual::{Manual, Stalled};
pub use runtime::{Elapsed, Runtime};

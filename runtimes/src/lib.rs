//! What traffik asks of an async runtime, and one small shim for each.
//!
//! No other part of traffik names a runtime: whoever needs to wait is given a [`Runtime`], and whoever needs a server a
//! runtime that can [`Connect`].
#![forbid(unsafe_code)]

mod connect;
mod runtime;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "tokio")]
pub use crate::tokio::Tokio;
pub use connect::Connect;
pub use runtime::{Elapsed, Runtime};

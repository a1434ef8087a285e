//! The interface between traffik and async runtimes, with a small implementation for each runtime.
//!
//! A type that waits takes a [`Runtime`] or a [`Timer`](traffik_core::Timer), and a type that needs a server
//! takes a runtime that can [`Connect`]. There is no default: the program chooses a runtime.
//!
//! | runtime | feature | choose it |
//! |---|---|---|
//! | `Tokio` | `tokio` | in programs on tokio |
//! | `Smol` | `smol` | in programs on smol |
//! | `AsyncStd` | `async-std` | in programs that already use async-std, which its authors discontinued |
//! | `Manual` | `manual` | in tests: its time is virtual |
//! | embassy | `embassy-time` | in firmware: time only, by `EmbassyClock` |
//!
//! For another runtime, implement [`Runtime`].
//!
//! Embassy is no [`Runtime`]: firmware has no sockets of an operating system, and cannot spawn a future whose
//! type is unknown when the program is built. `EmbassyClock` in `traffik-core` is a clock and a timer for it,
//! so that a limiter can wait without an operating system.
//!
//! # Tests by runtime
//!
//! These tests are written once, for any runtime, and run on the runtimes in the columns:
//!
//! | test | `Tokio` | `Smol` | `AsyncStd` | `Manual` |
//! |---|---|---|---|---|
//! | duties of a [`Runtime`] ¹ | one thread, and several | yes | yes | yes |
//! | duties of [`Connect`] ¹ | one thread, and several | yes | yes | no ⁵ |
//! | waiting for a key ² | several threads, and paused time | yes | yes | yes |
//! | limits and locks on Redis and on a cluster ³ | yes | yes | by the client for smol ⁶ | no ⁵ |
//! | the same on Memcached ³ | yes | yes | yes | no ⁵ |
//! | Redis over TLS ³ | yes | yes | no ⁶ | no ⁵ |
//! | WebSocket messages that wait ⁴ | by the gateway | yes | yes | yes |
//! | WebSockets through a hyper service ⁴ | yes | yes | no | no ⁵ |
//! | an HTTP server behind a throttle (`examples/tests/docs`) | yes | yes | no: discontinued | no ⁵ |
//!
//! ¹ `tests/runtimes/duties.rs` ² `tests/runtimes/until_ready` ³ `tests/stores` ⁴ `tests/websocket`
//! ⁵ Real servers and clients have no virtual time. ⁶ The Redis client has dropped async-std.
//!
//! Embassy's clock and timer are tested in the core with the test driver of embassy-time, and by
//! `scripts/firmware` on an emulated processor.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "async-std")]
mod async_std;
mod connect;
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
#[cfg(feature = "manual")]
pub use manual::Manual;
pub use runtime::Runtime;

// Types that appear in signatures and need not be named.
#[doc(hidden)]
#[cfg(feature = "manual")]
pub use manual::Stalled;
#[doc(hidden)]
pub use runtime::Elapsed;
#[doc(hidden)]
pub use runtime::Interval;

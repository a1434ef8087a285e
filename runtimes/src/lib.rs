//! What traffik asks of an async runtime, and one small shim for each.
//!
//! No other part of traffik names a runtime: whoever needs to wait is given a [`Runtime`], and whoever needs
//! a server a runtime that can [`Connect`]. None is ever chosen for you.
//!
//! | runtime | feature | |
//! |---|---|---|
//! | `Tokio` | `tokio` | |
//! | `Smol` | `smol` | |
//! | `AsyncStd` | `async-std` | discontinued by its authors; for programs that are built on it |
//! | `Manual` | `manual` | virtual time, for tests of yours too |
//! | embassy | `embassy-time` of `traffik-core` | time only: `EmbassyClock` |
//!
//! Firmware has neither sockets of the system's nor a way to spawn whatever future comes: embassy's tasks are
//! known when the program is built. So embassy is no [`Runtime`], and what it has, time, is in the core,
//! where a limiter can wait by it without an operating system.
//!
//! A runtime of your own is a value that implements [`Runtime`].
//!
//! # What is tried where
//!
//! The bodies of these tests are written once, over any runtime, and run on each that is named.
//!
//! | | `Tokio` | `Smol` | `AsyncStd` | `Manual` |
//! |---|---|---|---|---|
//! | what a [`Runtime`] owes (`tests/runtimes/duties.rs`) | one thread, and several | yes | yes | yes |
//! | what [`Connect`] owes (`tests/runtimes/duties.rs`) | one thread, and several | yes | yes | no: a server is on no virtual time |
//! | waiting in line for a key (`tests/runtimes/until_ready`) | several threads, and time paused | yes | yes | yes |
//! | limits and locks on Redis and on a cluster (`tests/stores/on_runtimes.rs`) | yes | yes | yes, by the client's support of smol: it has dropped async-std | no: a server |
//! | the same on Memcached | yes | yes | yes | no: a server |
//! | Redis over TLS (`tests/stores/redis/tls.rs`) | yes | yes | no: it would be smol's once more | no: a server |
//! | messages of WebSockets that wait (`tests/websocket/waiting.rs`) | by the gateway | yes | yes | yes |
//! | WebSockets through a hyper service (`tests/websocket`) | yes | yes | no | no: clients |
//! | an HTTP server behind a throttle (`examples/tests/docs`) | yes | yes | no: nothing new should serve on what is discontinued | no: clients |
//!
//! Embassy's clock and timer are tried in the core, by the driver that embassy-time has for tests, and by
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

// What stands in signatures, and nobody has to name.
#[doc(hidden)]
#[cfg(feature = "manual")]
pub use manual::Stalled;
#[doc(hidden)]
pub use runtime::Elapsed;
#[doc(hidden)]
pub use runtime::Interval;

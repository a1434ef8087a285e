//! The connections that a storage makes and keeps, on the runtime that calls run on.

mod address;
mod cluster;
mod connect;
mod link;
mod network;
#[cfg(feature = "smol")]
mod on_smol;
#[cfg(not(feature = "smol"))]
#[path = "net/no_runtime.rs"]
mod on_smol;
#[cfg(feature = "tokio")]
mod on_tokio;
#[cfg(not(feature = "tokio"))]
#[path = "net/no_runtime.rs"]
mod on_tokio;
mod sentinel;
mod session;
mod timer;
#[cfg(feature = "redis-tls")]
mod tls;
#[cfg(not(feature = "redis-tls"))]
#[path = "net/no_tls.rs"]
mod tls;
mod watchdog;
mod wire;

pub use address::ServerAddress;
pub(super) use address::settled;
pub(super) use link::Link;
pub(super) use network::{Network, Place};
pub(super) use session::NetSession;
#[cfg(feature = "locks")]
pub(super) use timer::{BackgroundTask, spawn};
pub(super) use timer::{HAS_TIMER, has_timer, wait};
pub(super) use tls::{Tls, prepare};

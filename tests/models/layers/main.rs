//! The layers around a storage: breaker, retry, timeout, failover, cache of denials, and all of them at once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod around;
mod breaker;
mod deny_cache;
mod failover;
mod merging;
mod metered;
mod nodes;
mod nodes_failover;
mod retry;
mod simulated;
mod timeout;

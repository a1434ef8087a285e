//! Redis and Memcached, on real servers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod alternating;
mod closing;
mod corrupt;
mod every_key;
mod evictions;
mod lines;
mod memcached;
mod messages;
mod on_runtimes;
mod one_node;
mod real_servers;
mod recorder;
mod redis;
mod storm;

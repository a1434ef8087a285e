//! Real servers for tests: Redis, its cluster and sentinel, and Memcached as processes, and a proxy that fails on demand.
//!
//! Each server listens on a free port of the loopback interface, has a fresh directory, and ends with its value,
//! or with the test program if that is killed. `scripts/install redis-server=redis-server memcached=memcached`
//! installs them. Waits poll and are bounded: whatever has not come by then panics and says what it waited for.
//!
//! A test program takes it in with `mod servers;`.

#![allow(dead_code, unused_imports, reason = "each test program uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod cluster;
mod directory;
mod lanes;
mod memcached;
mod ports;
mod process;
mod proxy;
mod redis;
mod resp;
mod sentinel;
mod server;
mod wait;

pub(crate) use cluster::Cluster;
pub(crate) use memcached::{Memcached, MemcachedOptions};
pub(crate) use process::is_running;
pub(crate) use proxy::{Bytes, Proxy};
pub(crate) use redis::{Redis, RedisOptions};
pub(crate) use resp::{Client, Reply};
pub(crate) use sentinel::Sentinel;
pub(crate) use wait::until;

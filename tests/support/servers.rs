//! Real servers for tests: Redis, its cluster and sentinel, Memcached, nginx and Envoy as processes, and a
//! proxy that fails on demand.
//!
//! Each server listens on a free port of the loopback interface, has a fresh directory, and ends with its
//! value, or with the test program if that is killed. `scripts/install redis-server=redis-server
//! memcached=memcached nginx=nginx` installs them. Waits poll and are bounded: one that is over panics, and
//! says what was to come.

mod cluster;
mod directory;
mod envoy;
mod identity;
mod lanes;
mod memcached;
mod ports;
mod process;
mod proxy;
mod redis;
mod resp;
mod sentinel;
mod server;
mod setup;
mod sockets;
mod wait;

pub use cluster::Cluster;
pub use envoy::Envoy;
pub use identity::Identity;
pub use memcached::{Memcached, MemcachedOptions};
pub use ports::free as free_port;
pub use process::is_running;
pub use proxy::{Bytes, Proxy};
pub use redis::{Redis, RedisOptions};
pub use resp::{Client, Reply};
pub use sentinel::Sentinel;
pub use setup::Setup;
pub use wait::until;

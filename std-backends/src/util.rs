//! Tools that several storages and layers share.

pub(crate) mod backoff;
#[cfg(any(feature = "memcached", feature = "redis"))]
pub(crate) mod corrupt;
#[cfg(any(feature = "memcached", feature = "redis"))]
pub(crate) mod evictions;
#[cfg(any(feature = "memcached", feature = "redis"))]
pub(crate) mod faults;
pub(crate) mod key;
pub(crate) mod mutex;
#[cfg(any(feature = "memcached", feature = "redis"))]
pub(crate) mod namespace;
pub(crate) mod nodes;
#[cfg(any(feature = "memcached", all(feature = "redis", any(feature = "smol", feature = "tokio"))))]
pub(crate) mod pause;
pub(crate) mod race;
pub(crate) mod random;
pub(crate) mod setters;
pub(crate) mod shared_future;
#[cfg(any(feature = "memcached", feature = "redis"))]
pub(crate) mod shutdown;
pub(crate) mod spin_lock;
pub(crate) mod state_ttl;
#[cfg(any(feature = "memcached", feature = "redis"))]
pub(crate) mod warning;

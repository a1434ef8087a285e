//! Small tools that several storages and layers share.

#[cfg(any(feature = "memcached", feature = "redis"))]
pub(crate) mod namespace;
pub(crate) mod race;
pub(crate) mod random;
#[cfg(any(feature = "memcached", feature = "redis"))]
pub(crate) mod shutdown;
pub(crate) mod spin_lock;

//! The crates whose types stand in signatures, in the versions that are taken there.

pub use redis;
#[cfg(feature = "redis-tls")]
pub use rustls;

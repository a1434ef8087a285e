//! The crates whose types appear in signatures, in the versions used there.

pub use redis;
#[cfg(feature = "redis-tls")]
pub use rustls;

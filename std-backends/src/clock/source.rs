//! The time that a target has: the standard library's, or that of the JavaScript around it.

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub(super) use std::time::{Instant, SystemTime, UNIX_EPOCH};
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub(super) use web_time::{Instant, SystemTime, UNIX_EPOCH};

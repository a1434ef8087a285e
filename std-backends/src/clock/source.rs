//! The source of time on a target: the standard library, or the JavaScript around the program.

#[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
pub(super) use std::time::{Instant, SystemTime, UNIX_EPOCH};
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
pub(super) use web_time::{Instant, SystemTime, UNIX_EPOCH};

/// Returns whole microseconds, at most `u64::MAX`: half a million years.
pub(super) fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

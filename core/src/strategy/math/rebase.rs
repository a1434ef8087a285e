//! States that lie ahead of their clock, because the clock was set back.

use crate::Timestamp;

/// The longest step back that counts as an inexact clock or as a race of two readers: 1 second.
pub(crate) const SLACK: u64 = 1_000_000;

/// Reports whether a time lies so far ahead of the present that the clock must have been set back.
///
/// That is by more than `reach` microseconds, and by more than a second.
#[inline]
pub(crate) fn is_ahead(at: Timestamp, now: Timestamp, reach: u64) -> bool {
    at.micros_since(now) > if reach > SLACK { reach } else { SLACK }
}

/// Returns a wait from the time of a state that lies `behind` microseconds ahead of the clock.
///
/// The result is at most `max_ttl`, unless the wait alone exceeds it.
#[inline]
pub(crate) fn bounded_wait(wait: u64, behind: u64, max_ttl: u64) -> u64 {
    if behind == 0 { wait } else { wait.max(wait.saturating_add(behind).min(max_ttl)) }
}

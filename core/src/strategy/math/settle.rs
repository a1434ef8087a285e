//! When several limits that must all admit will do so.

use crate::{Outcome, Timestamp};

/// The outcome of several limits, given the first of theirs taken together and how they would decide later.
///
/// The longest of their waits is exact unless waiting makes one of them stricter (a smaller ratio by time of
/// day), so the wait is prolonged until none denies. A limit that never settles keeps the longest wait found.
pub(crate) fn settle(first: Outcome, now: Timestamp, later: impl Fn(Timestamp) -> Outcome) -> Outcome {
    /// A day has at most this many changes of ratio in half-hour spans.
    const ROUNDS: usize = 48;
    let Outcome::Deny { mut retry_after } = first else { return first };
    for _ in 0..ROUNDS {
        match later(now + retry_after) {
            Outcome::Deny { retry_after: more } if !more.is_zero() => {
                retry_after = retry_after.saturating_add(more)
            }
            Outcome::Never => return Outcome::Never,
            _ => break,
        }
    }
    Outcome::Deny { retry_after }
}

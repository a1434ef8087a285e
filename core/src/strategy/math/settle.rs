//! When several limits that must all admit will do so.

use crate::{Outcome, Receipts, Timestamp, Verdict};

/// Reports whether a limit decided at a time later than the present, as it does where the clock stepped back.
pub(crate) fn is_behind(verdict: &impl Verdict, now: Timestamp) -> bool {
    let mut is_behind = false;
    verdict.receipt().each(&mut |receipt| is_behind |= receipt.at > now);
    is_behind
}

/// The outcome of several limits, given the first of theirs taken together, whether [one is
/// behind](is_behind), and how they would decide later.
///
/// The longest of their waits is exact unless waiting makes one of them stricter (a smaller ratio by time of
/// day), so the wait is prolonged until none denies. A limit that never settles keeps the longest wait found.
///
/// Where a clock stepped back, each of them bounds its wait by its horizon. Nothing is added then: whoever
/// asked later would be behind still, and the sum grow beyond all of them.
pub(crate) fn settle(
    first: Outcome,
    is_behind: impl FnOnce() -> bool,
    now: Timestamp,
    later: impl Fn(Timestamp) -> Outcome,
) -> Outcome {
    /// A day has at most this many changes of ratio in half-hour spans.
    const ROUNDS: usize = 48;
    let Outcome::Deny { mut retry_after } = first else { return first };
    if is_behind() {
        return first;
    }
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

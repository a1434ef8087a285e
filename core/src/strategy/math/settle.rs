//! The wait for several limits that must all admit.

use core::time::Duration;

use crate::{Outcome, Receipts, Timestamp, Verdict};

/// Reports whether a limit decided at a time later than the present, as it does if the clock stepped back.
pub(crate) fn is_behind(verdict: &impl Verdict, now: Timestamp) -> bool {
    let mut is_behind = false;
    verdict.receipt().for_each(&mut |receipt| is_behind |= receipt.at > now);
    is_behind
}

/// Returns the outcome of several limits.
///
/// `first` are their outcomes now, `is_behind` reports whether [one of them is behind](is_behind), and
/// `later` returns the outcome of one of them at a later time.
///
/// The longest wait is exact unless waiting makes another limit stricter (a smaller ratio by time of day), so
/// the wait is prolonged until none denies. If they never all admit, the longest wait found stays.
///
/// If a clock stepped back, each limit bounds its wait, and nothing is added: a later hit would be behind
/// still, and the sum would grow beyond all of these bounds.
pub(crate) fn settle<const N: usize>(
    first: [Outcome; N],
    is_behind: impl FnOnce() -> bool,
    now: Timestamp,
    later: impl Fn(usize, Timestamp) -> Outcome,
) -> Outcome {
    /// The most changes of ratio in a day, in half-hour spans.
    const ROUNDS: usize = 48;
    let all = Outcome::all(first);
    let Outcome::Deny { mut retry_after } = all else { return all };
    if is_behind() {
        return all;
    }
    // The limit with the longest wait admits then, so only the others are tried, except at the end of time.
    let longest = first.iter().position(|outcome| *outcome == all);
    let mut settled = longest.filter(|_| now + retry_after < Timestamp::MAX);
    for _ in 0..ROUNDS {
        let (at, mut more) = (now + retry_after, Duration::ZERO);
        for limit in (0..N).filter(|limit| Some(*limit) != settled) {
            match later(limit, at) {
                Outcome::Deny { retry_after } => more = more.max(retry_after),
                Outcome::Never => return Outcome::Never,
                _ => {}
            }
        }
        if more.is_zero() {
            break;
        }
        (retry_after, settled) = (retry_after.saturating_add(more), None);
    }
    Outcome::Deny { retry_after }
}

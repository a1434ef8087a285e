//! When several limits that must all admit will do so.

use core::time::Duration;

use crate::{Outcome, Receipts, Timestamp, Verdict};

/// Reports whether a limit decided at a time later than the present, as it does where the clock stepped back.
pub(crate) fn is_behind(verdict: &impl Verdict, now: Timestamp) -> bool {
    let mut is_behind = false;
    verdict.receipt().for_each(&mut |receipt| is_behind |= receipt.at > now);
    is_behind
}

/// The outcome of several limits, given what each says now, whether [one is behind](is_behind), and how they
/// would decide later.
///
/// The longest of their waits is exact unless waiting makes another one stricter (a smaller ratio by time of
/// day), so the wait is prolonged until none denies. Limits that never settle keep the longest wait found.
///
/// Where a clock stepped back, each of them bounds its wait by its horizon. Nothing is added then: a hit that
/// came later would be behind still, and the sum grow beyond all of them.
pub(crate) fn settle<const N: usize>(
    first: [Outcome; N],
    is_behind: impl FnOnce() -> bool,
    now: Timestamp,
    later: impl Fn(usize, Timestamp) -> Outcome,
) -> Outcome {
    /// A day has at most this many changes of ratio in half-hour spans.
    const ROUNDS: usize = 48;
    let all = Outcome::all(first);
    let Outcome::Deny { mut retry_after } = all else { return all };
    if is_behind() {
        return all;
    }
    // The limit that waits the longest admits then, so the others alone are asked, but at the end of time.
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

//! The law of waits.

use super::run::{LawResult, Step, expect, follow};
use crate::{Decision, Outcome, Strategy, Timestamp, Verdict};

/// Law 5: the waits of a verdict are exact.
///
/// * A denied hit is admitted after exactly `retry_after`, and denied one microsecond earlier.
/// * More remains after exactly `more_after`, and not one microsecond earlier.
/// * The state is fresh after exactly `reset_after`.
///
/// They hold for the state that the decision leaves, with the demand that a denial may have recorded.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn waits_are_exact<S: Strategy>(strategy: &S, run: &[Step]) -> LawResult {
    let mut latest = Timestamp::EPOCH;
    follow(strategy, run, |at, step, _, verdict, after| {
        let stepped_back = step.at < latest;
        // A verdict at an earlier time than the state's is bounded by law 7 instead.
        latest = latest.max(step.at);
        if let Outcome::Deny { retry_after } = verdict.outcome() {
            expect(!retry_after.is_zero() || step.at == Timestamp::MAX, 5, at, "a denial has a wait of 0")?;
            let then = step.at + retry_after;
            // `Timestamp::MAX` is beyond the clock, so a wait that ends there cannot be checked.
            let earlier = Timestamp::from_micros(then.as_micros().saturating_sub(1));
            if then != Timestamp::MAX && !stepped_back {
                let passes = |now| strategy.peek(after, &step.hit(), now).outcome().is_allowed();
                expect(passes(then), 5, at, "still denied after the promised wait")?;
                expect(!passes(earlier), 5, at, "would have been admitted before the promised wait")?;
            }
        }
        if !stepped_back {
            more_is_exact(strategy, after, verdict, (at, step))?;
        }
        let mut reset = core::time::Duration::ZERO;
        strategy
            .peek(after, &Step { cost: 0, ..*step }.hit(), step.at)
            .for_each(&mut |it| reset = reset.max(it.reset_after()));
        let expires_at = strategy.expires_at(after, step.class).max(step.at);
        let exact = step.at + reset == expires_at || stepped_back;
        expect(exact, 5, at, "reset_after is not the time until the state is fresh")
    })
}

/// Checks `more_after` of a verdict that left this state.
fn more_is_exact<S: Strategy>(
    strategy: &S,
    state: &S::State,
    verdict: &S::Verdict,
    (at, step): (usize, &Step),
) -> LawResult {
    let nothing = Step { cost: 0, ..*step }.hit();
    let (mut place, mut held) = (0, Ok(()));
    verdict.for_each(&mut |shown: &Decision| {
        // The remaining cost of the same limit at another time.
        let remaining = |now| {
            let (mut other, mut remaining) = (0, 0);
            strategy.peek(state, &nothing, now).for_each(&mut |it: &Decision| {
                remaining = if other == place { it.remaining() } else { remaining };
                other += 1;
            });
            remaining
        };
        let then = shown.more_after().filter(|_| shown.retry_after().is_none()).map(|more| step.at + more);
        if let Some(then) = then.filter(|then| *then != Timestamp::MAX && held.is_ok()) {
            let earlier = Timestamp::from_micros(then.as_micros().saturating_sub(1));
            let (late, early) =
                (remaining(then) > shown.remaining(), remaining(earlier) <= shown.remaining());
            held = expect(late, 5, at, "no more remains when more_after has passed").and(expect(
                early,
                5,
                at,
                "more remains before more_after has passed",
            ));
        }
        place += 1;
    });
    held
}

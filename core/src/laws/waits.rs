//! The law of waits.

use super::run::{Held, Step, expect, follow};
use crate::{Decision, Outcome, Strategy, Timestamp, Verdict};

/// Law 5: admitted after exactly the wait and denied a microsecond earlier; more remains after exactly
/// `more_after`, and no more a microsecond earlier; fresh after exactly `reset_after`.
/// What is promised holds for the state that the denial leaves, with the demand it may have recorded.
pub fn waits_are_exact<S: Strategy>(strategy: &S, run: &[Step]) -> Held {
    let mut latest = Timestamp::EPOCH;
    follow(strategy, run, |at, step, _, verdict, after| {
        let stepped_back = step.at < latest;
        latest = latest.max(step.at);
        if let Outcome::Deny { retry_after } = verdict.outcome() {
            expect(!retry_after.is_zero() || step.at == Timestamp::MAX, 5, at, "a denial without a wait")?;
            let then = step.at + retry_after;
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

/// Law 5 for `more_after` of a verdict that left this state.
fn more_is_exact<S: Strategy>(
    strategy: &S,
    state: &S::State,
    verdict: &S::Verdict,
    (at, step): (usize, &Step),
) -> Held {
    let nothing = Step { cost: 0, ..*step }.hit();
    let (mut place, mut held) = (0, Ok(()));
    verdict.for_each(&mut |told: &Decision| {
        // The same strategy at another time.
        let remaining = |now| {
            let (mut other, mut remaining) = (0, 0);
            strategy.peek(state, &nothing, now).for_each(&mut |it: &Decision| {
                remaining = if other == place { it.remaining() } else { remaining };
                other += 1;
            });
            remaining
        };
        let then = told.more_after().filter(|_| told.retry_after().is_none()).map(|more| step.at + more);
        if let Some(then) = then.filter(|then| *then != Timestamp::MAX && held.is_ok()) {
            let earlier = Timestamp::from_micros(then.as_micros().saturating_sub(1));
            let (late, early) = (remaining(then) > told.remaining(), remaining(earlier) <= told.remaining());
            held = expect(late, 5, at, "no more remains after the time that was told").and(expect(
                early,
                5,
                at,
                "more remains before the time that was told",
            ));
        }
        place += 1;
    });
    held
}

//! Decisions by time of day in which more than one limit takes part.

use core::time::Duration;

use super::TimeOfDay;
use super::state::TimeOfDayState;
use crate::hours::DAY;
use crate::strategy::{Class, Cost, Hit, Scale};
use crate::{Decision, Outcome, Timestamp};

impl<S: Scale<Verdict = Decision>, const N: usize> TimeOfDay<S, N> {
    /// Returns the time at which a state, brought forward to `at`, is fresh; `last` at the latest.
    pub(super) fn fresh_from(
        &self,
        mut inner: S::State,
        class: Class,
        mut at: Timestamp,
        last: Timestamp,
    ) -> Timestamp {
        let mut expires_at = at;
        // Each limit drains the state to the end of its hours, then hands it to the next.
        while inner != S::State::default() && at < last {
            let (limit, end) = self.holding(at);
            expires_at = limit.expires_at(&inner, class).max(at).min(end);
            limit.advance(&mut inner, class, end);
            at = end;
        }
        expires_at.min(last)
    }

    /// Completes a decision of one limit at `at` with what the limits of later hours change.
    #[cold]
    pub(super) fn across_hours(
        &self,
        decision: Decision,
        inner: S::State,
        hit: &Hit<S::Cost>,
        (at, now, forgotten): (Timestamp, Timestamp, Timestamp),
    ) -> Decision {
        let (behind, max_ttl) = (at.since(now), Duration::from_micros(self.max_ttl));
        // A clock that stepped back by `behind` waits longer by that, but within `max_ttl`.
        let late = |wait: Duration| wait.max(wait.saturating_add(behind).min(max_ttl));
        let outcome = match decision.is_allowed() {
            true => decision.outcome(),
            false => self.retry(inner.clone(), hit, at, forgotten),
        };
        let decision = match outcome {
            Outcome::Allow { .. } => decision,
            Outcome::Deny { retry_after } => {
                decision.with_outcome(Outcome::Deny { retry_after: late(retry_after) })
            }
            Outcome::Never => decision.with_outcome(outcome),
        };
        let decision = match outcome {
            Outcome::Deny { .. } => decision,
            _ => {
                let more = self.more(decision, &inner, hit, (at, forgotten));
                decision.with_more_after(more.map(late))
            }
        };
        match self.fresh_from(inner, hit.class, at, forgotten).since(at) {
            Duration::ZERO => decision.with_reset_after(Duration::ZERO),
            reset => decision.with_reset_after(late(reset)),
        }
    }

    /// Returns the time until more can be had than remains now.
    ///
    /// The present limit determines it, or the next one that admits one more than remains. `None` if that one
    /// would not show more remaining.
    fn more(
        &self,
        decision: Decision,
        inner: &S::State,
        hit: &Hit<S::Cost>,
        (at, forgotten): (Timestamp, Timestamp),
    ) -> Option<Duration> {
        let (more, (_, end)) = (decision.more_after()?, self.holding(at));
        // Within the present hours, and before the state is forgotten, the present limit alone decides.
        if at + more < if at < forgotten { end.min(forgotten) } else { end } {
            return Some(more);
        }
        let wanted = Hit { cost: S::Cost::uniform(decision.remaining().checked_add(1)?), ..*hit };
        let Outcome::Deny { retry_after } = self.retry(inner.clone(), &wanted, at, forgotten) else {
            return None;
        };
        let then = TimeOfDayState::new(at, inner.clone());
        let (then, limit, _) = self.forward(&then, hit.class, at + retry_after);
        let remaining = limit.peek(&then, &hit.free(), at + retry_after).remaining();
        (remaining > decision.remaining()).then_some(retry_after)
    }

    /// Returns the outcome of a hit that does not pass at `at`, by trying it in all hours from then on.
    fn retry(&self, mut inner: S::State, hit: &Hit<S::Cost>, at: Timestamp, forgotten: Timestamp) -> Outcome {
        let fresh = S::State::default();
        if self.limits().all(|limit| limit.peek(&fresh, hit, at).outcome() == Outcome::Never) {
            return Outcome::Never;
        }
        let mut then = at;
        // All hours occur once a day, so a fresh state is tried in each of them within two days.
        let last = forgotten.max(at).plus_micros(2 * DAY);
        while then < last {
            let (limit, mut end) = self.holding(then);
            if then < forgotten {
                end = end.min(forgotten);
            }
            let passes = match limit.peek(&inner, hit, then).outcome() {
                Outcome::Allow { .. } => Some(then),
                // A wait beyond these hours is not reached: the next limit takes over first.
                Outcome::Deny { retry_after } => Some(then + retry_after).filter(|passes| *passes < end),
                Outcome::Never => None,
            };
            if let Some(passes) = passes {
                then = passes;
                break;
            }
            limit.advance(&mut inner, hit.class, end);
            then = end;
            if then >= forgotten {
                inner = fresh.clone();
            }
        }
        Outcome::Deny { retry_after: then.since(at) }
    }
}

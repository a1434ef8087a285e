//! The decision of a limit by time of day where more than one of its limits takes part.

use core::time::Duration;

use super::TimeOfDay;
use super::state::TimeOfDayState;
use crate::hours::DAY;
use crate::strategy::{Class, Cost, Hit, Scale};
use crate::{Decision, Outcome, Timestamp};

impl<S: Scale<Verdict = Decision>, const N: usize> TimeOfDay<S, N> {
    /// When a state that was brought forward to `at` will be fresh, in whatever hours; it is forgotten by
    /// `last` at the latest.
    pub(super) fn fresh_from(
        &self,
        mut inner: S::State,
        class: Class,
        mut at: Timestamp,
        last: Timestamp,
    ) -> Timestamp {
        let mut expires_at = at;
        while inner != S::State::default() && at < last {
            let (limit, end) = self.holding(at);
            expires_at = limit.expires_at(&inner, class).max(at).min(end);
            limit.advance(&mut inner, class, end);
            at = end;
        }
        expires_at.min(last)
    }

    /// A decision at `at` by one limit, told with what the limits of later hours make of it.
    #[cold]
    pub(super) fn across_hours(
        &self,
        decision: Decision,
        inner: S::State,
        hit: &Hit<S::Cost>,
        (at, now, forgotten): (Timestamp, Timestamp, Timestamp),
    ) -> Decision {
        let (behind, max_ttl) = (at.since(now), Duration::from_micros(self.max_ttl));
        let told = |wait: Duration| wait.max(wait.saturating_add(behind).min(max_ttl));
        let outcome = match decision.is_allowed() {
            true => decision.outcome(),
            false => self.retry(inner.clone(), hit, at, forgotten),
        };
        let decision = match outcome {
            Outcome::Allow { .. } => decision,
            Outcome::Deny { retry_after } => {
                decision.with_outcome(Outcome::Deny { retry_after: told(retry_after) })
            }
            Outcome::Never => decision.with_outcome(outcome),
        };
        let decision = match outcome {
            Outcome::Deny { .. } => decision,
            _ => {
                let more = self.more(decision, &inner, hit, (at, forgotten));
                decision.with_more_after(more.map(told))
            }
        };
        match self.fresh_from(inner, hit.class, at, forgotten).since(at) {
            Duration::ZERO => decision.with_reset_after(Duration::ZERO),
            reset => decision.with_reset_after(told(reset)),
        }
    }

    /// How long until more can be had than is told: by the limit that holds, or as soon as another admits as
    /// much, unless that admits more than remains of it.
    fn more(
        &self,
        decision: Decision,
        inner: &S::State,
        hit: &Hit<S::Cost>,
        (at, forgotten): (Timestamp, Timestamp),
    ) -> Option<Duration> {
        let (more, (_, end)) = (decision.more_after()?, self.holding(at));
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

    /// The outcome of a hit that does not pass at `at`: it is tried in all hours from then on.
    fn retry(&self, mut inner: S::State, hit: &Hit<S::Cost>, at: Timestamp, forgotten: Timestamp) -> Outcome {
        let fresh = S::State::default();
        if self.limits().all(|limit| limit.peek(&fresh, hit, at).outcome() == Outcome::Never) {
            return Outcome::Never;
        }
        let mut then = at;
        // Every hours hold once a day, so a fresh state is tried in all of them.
        let last = forgotten.max(at).plus_micros(2 * DAY);
        while then < last {
            let (limit, mut end) = self.holding(then);
            if then < forgotten {
                end = end.min(forgotten);
            }
            let passes = match limit.peek(&inner, hit, then).outcome() {
                Outcome::Allow { .. } => Some(then),
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

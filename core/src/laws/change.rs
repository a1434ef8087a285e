//! Law 12: limits that change under a state.

use super::run::{Held, Step, expect, follow};
use crate::strategy::Bounds;
use crate::{Class, Decision, Hit, Scale, Timestamp, Verdict};

/// Law 12: a state brought forward decides from then on as it would have, and is forgotten once it is fresh.
pub fn advance_is_invisible<S: Scale>(strategy: &S, run: &[Step]) -> Held {
    let mut advanced = S::State::default();
    follow(strategy, run, |at, step, _, verdict, _| {
        strategy.advance(&mut advanced, step.class, step.at);
        let again = strategy.decide(&mut advanced, &step.hit(), step.at);
        expect(again == *verdict, 12, at, "a state brought forward decided differently")?;
        let (mut fresh, expires_at) = (advanced.clone(), strategy.expires_at(&advanced, step.class));
        strategy.advance(&mut fresh, step.class, expires_at);
        let forgotten = fresh == S::State::default() || expires_at == Timestamp::MAX;
        expect(forgotten, 12, at, "a state brought forward to where it is fresh is not")
    })
}

/// Law 12: under another limit what was used stays used, counted in cost and rounded up. Both must hold a
/// whole cost (no tolerance in time), else the figures do not tell what was used. Of a log, which knows when
/// it was used and counts just that part which lies in the other's period, `other` must not have a shorter
/// one.
pub fn limit_may_change<S: Bounds>(strategy: &S, other: &S, run: &[Step]) -> Held {
    follow(strategy, run, |at, step, _, verdict, after| {
        if !verdict.is_dirty() {
            return Ok(());
        }
        let nothing = Step { cost: 0, ..*step }.hit();
        let figures = |strategy: &S, state: &S::State| strategy.peek(state, &nothing, step.at);
        let (before, then) = (figures(strategy, after), figures(other, after));
        let fresh = figures(other, &S::State::default());
        let used = |it: &Decision| it.limit().saturating_sub(it.remaining());
        if before.is_unlimited() || then.is_unlimited() {
            return Ok(());
        }
        let kept = fresh.remaining().saturating_sub(used(&before));
        // With nothing left the old strategy cannot tell how much more than all of it is in use.
        // Nor does a queue, whose turns stay told and may then count for more.
        let at_most = before.remaining() == 0 || S::QUEUES;
        let holds = then.remaining() == kept || (at_most && then.remaining() <= kept);
        expect(holds, 12, at, "a change of the limit changed what was used")?;
        let mut state = after.clone();
        let room = other.most(step.at, step.at).saturating_sub(used(&before).into());
        let beyond = u32::try_from(room).unwrap_or(u32::MAX).saturating_add(1);
        let bounded = !other.decide(&mut state, &Hit::new(beyond), step.at).is_allowed();
        expect(bounded, 12, at, "a change of the limit granted something")
    })
}

/// Law 12: of two limits that take turns on one state, such as tiers, no more is admitted between any two
/// hits than the larger one alone could admit. Both must be of the same [kinds](crate::Strategy::kinds).
pub fn limits_may_alternate<S: Bounds>(strategy: &S, other: &S, run: &[Step]) -> Held {
    for first in 0..run.len() {
        let (mut state, mut latest) = (S::State::default(), Timestamp::EPOCH);
        let (mut start, mut admitted) = (None, 0u128);
        for (at, step) in run.iter().enumerate() {
            // In turns of no regular length.
            let one = if at * at % 5 < 2 { strategy } else { other };
            let verdict = one.decide(&mut state, &step.hit(), step.at);
            if !verdict.is_dirty() {
                continue;
            }
            latest = latest.max(step.at);
            if at < first || !verdict.is_allowed() {
                continue;
            }
            admitted += u128::from(step.cost);
            let start = *start.get_or_insert(latest);
            let bound = strategy.most(start, latest).max(other.most(start, latest));
            expect(admitted <= bound, 12, at, "limits that alternate admitted more than the larger one")?;
        }
    }
    Ok(())
}

/// Law 12: of two limits that take turns on one state each drains it from its own hit until the next: all is
/// decided as if each had [brought the state forward](Scale::advance) to where the other takes over. Both
/// must be of the same [kinds](crate::Strategy::kinds), and of rates that a state keeps exactly.
pub fn change_is_settled<S: Bounds + Scale>(strategy: &S, other: &S, run: &[Step]) -> Held {
    let (mut kept, mut advanced) = (S::State::default(), S::State::default());
    let mut last: Option<(bool, Class)> = None;
    for (at, step) in run.iter().enumerate() {
        // In turns of no regular length.
        let is_first = at * at % 5 < 2;
        let one = |is_first: bool| if is_first { strategy } else { other };
        if let Some((before, class)) = last.filter(|(before, _)| *before != is_first) {
            one(before).advance(&mut advanced, class, step.at);
        }
        last = Some((is_first, step.class));
        let verdict = one(is_first).decide(&mut kept, &step.hit(), step.at).recorded(false);
        let expected = one(is_first).decide(&mut advanced, &step.hit(), step.at).recorded(false);
        expect(verdict == expected, 12, at, "time before a change did not count at the rate there was")?;
    }
    Ok(())
}

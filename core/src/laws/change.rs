//! Law 12: limits that change under a state.

use super::run::{LawResult, Step, expect, follow};
use crate::strategy::Bounds;
use crate::{Class, Decision, Hit, Scale, Timestamp, Verdict};

/// Law 12: a state brought forward decides as it would have, and becomes the default once it is fresh.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn advance_is_invisible<S: Scale>(strategy: &S, run: &[Step]) -> LawResult {
    let mut advanced = S::State::default();
    follow(strategy, run, |at, step, _, verdict, _| {
        strategy.advance(&mut advanced, step.class, step.at);
        let again = strategy.decide(&mut advanced, &step.hit(), step.at);
        expect(again == *verdict, 12, at, "a state brought forward decided differently")?;
        let (mut fresh, expires_at) = (advanced.clone(), strategy.expires_at(&advanced, step.class));
        strategy.advance(&mut fresh, step.class, expires_at);
        let forgotten = fresh == S::State::default() || expires_at == Timestamp::MAX;
        expect(forgotten, 12, at, "a state brought forward to expires_at is not the default")
    })
}

/// Law 12: under another limit the cost used stays used, rounded up to whole units.
///
/// Both must hold a whole cost (no tolerance in time), or the figures do not show the use. A log counts only
/// the part of its use that lies in the other's period, so the period of `other` must not be shorter there.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn limit_may_change<S: Bounds>(strategy: &S, other: &S, run: &[Step]) -> LawResult {
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
        // With nothing left the old limit cannot show how much more than all of it is in use. Nor can a
        // queue, whose turns stay the same and may then count for more.
        let at_most = before.remaining() == 0 || S::QUEUES;
        let holds = then.remaining() == kept || (at_most && then.remaining() <= kept);
        expect(holds, 12, at, "a change of the limit changed the use")?;
        let mut state = after.clone();
        let room = other.most(step.at, step.at).saturating_sub(used(&before).into());
        let beyond = u32::try_from(room).unwrap_or(u32::MAX).saturating_add(1);
        let bounded = !other.decide(&mut state, &Hit::new(beyond), step.at).is_allowed();
        expect(bounded, 12, at, "a change of the limit granted something")
    })
}

/// Law 12: two limits that take turns on one state, such as tiers, admit no more than the larger one alone.
///
/// This holds between any two hits. Both must be of the same [kinds](crate::Strategy::kinds).
///
/// # Errors
///
/// Fails if this law is broken.
pub fn limits_may_alternate<S: Bounds>(strategy: &S, other: &S, run: &[Step]) -> LawResult {
    for first in 0..run.len() {
        let (mut state, mut latest) = (S::State::default(), Timestamp::EPOCH);
        let (mut start, mut admitted) = (None, 0u128);
        for (at, step) in run.iter().enumerate() {
            // Alternates at irregular intervals.
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

/// Law 12: of two limits that take turns on one state, each drains it from its own hit until the next.
///
/// All is decided as if each limit had [brought the state forward](Scale::advance) to where the other takes
/// over. Both must be of the same [kinds](crate::Strategy::kinds), and of rates that a state keeps exactly.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn change_is_settled<S: Bounds + Scale>(strategy: &S, other: &S, run: &[Step]) -> LawResult {
    let (mut kept, mut advanced) = (S::State::default(), S::State::default());
    let mut last: Option<(bool, Class)> = None;
    for (at, step) in run.iter().enumerate() {
        // Alternates at irregular intervals.
        let is_first = at * at % 5 < 2;
        let one = |is_first: bool| if is_first { strategy } else { other };
        if let Some((before, class)) = last.filter(|(before, _)| *before != is_first) {
            one(before).advance(&mut advanced, class, step.at);
        }
        last = Some((is_first, step.class));
        let verdict = one(is_first).decide(&mut kept, &step.hit(), step.at).with_dirty(false);
        let expected = one(is_first).decide(&mut advanced, &step.hit(), step.at).with_dirty(false);
        expect(verdict == expected, 12, at, "time before a change did not count at the old rate")?;
    }
    Ok(())
}

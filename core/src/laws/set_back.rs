//! Law 7: times that step back, and clocks that are set back for good.

use super::run::{LawResult, Step, expect, follow};
use crate::strategy::Bounds;
use crate::{Hit, Outcome, Strategy, Timestamp, Verdict};

/// Law 7: a time before the state's own counts as the state's own.
///
/// The wait then stays within [`max_ttl`](Strategy::max_ttl). So does the delay of an admission, but for the
/// second by which a clock may be read late.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn time_may_step_back<S: Strategy>(strategy: &S, run: &[Step]) -> LawResult {
    let mut latest = Timestamp::EPOCH;
    follow(strategy, run, |at, step, _, verdict, after| {
        if verdict.is_dirty() {
            latest = latest.max(step.at);
        }
        // From a microsecond to the epoch: all of these times count as the latest.
        for back in [1, 1_000, strategy.max_ttl(), u64::MAX] {
            let earlier = Timestamp::from_micros(latest.as_micros().saturating_sub(back));
            let (mut then, mut now) = (after.clone(), after.clone());
            let in_past = strategy.decide(&mut then, &step.hit(), earlier);
            let in_present = strategy.decide(&mut now, &step.hit(), latest);
            let same = in_past.outcome().is_allowed() == in_present.outcome().is_allowed() && then == now;
            expect(same, 7, at, "an earlier time did not count as the state's own")?;
            let (past, present, slack) = match (in_past.outcome(), in_present.outcome()) {
                (Outcome::Deny { retry_after: past }, Outcome::Deny { retry_after: present }) => {
                    (past, present, 0)
                }
                (Outcome::Allow { after: past }, Outcome::Allow { after: present }) => (past, present, SLACK),
                _ => continue,
            };
            let longest = Timestamp::EPOCH.plus_micros(strategy.max_ttl()).max(Timestamp::EPOCH + present);
            let held = Timestamp::EPOCH + past <= longest.plus_micros(slack);
            expect(held, 7, at, "a clock that stepped back made the wait too long")?;
        }
        Ok(())
    })
}

/// The furthest a clock may step back without moving a state to it, in microseconds: 1 second.
const SLACK: u64 = 1_000_000;

/// Law 7: [`rebase`](Strategy::rebase) moves a state to the present once it lies further ahead than it can
/// last, and than 1 second.
///
/// That grants nothing. From then on no wait is longer than [`max_ttl`](Strategy::max_ttl), and each is
/// exact, however often the clock is set back.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn clock_may_be_set_back<S: Bounds>(strategy: &S, run: &[Step]) -> LawResult {
    /// Enough attempts to see a strategy recover and be used up again.
    const ATTEMPTS: usize = 12;
    let Some(first) = run.first() else { return Ok(()) };
    let reach = strategy.max_ttl().max(SLACK);
    // The waits of all attempts must end before time does.
    let Some(room) = reach.checked_mul(128).map(|_| reach * 16) else { return Ok(()) };
    let hit: Hit<u32> = Step { cost: first.cost.max(1), ..*first }.hit();
    let mut now = Timestamp::from_micros(first.at.as_micros().min(u64::MAX / 2)).plus_micros(room);
    let mut state = S::State::default();
    for (at, back) in [reach + 1, 5 * reach, 2 * reach].into_iter().enumerate() {
        if !exhausts(strategy, &mut state, &hit, now) {
            return Ok(());
        }
        let mut near = state.clone();
        let slightly = Timestamp::from_micros(now.as_micros() - SLACK);
        let stays = !strategy.rebase(&mut near, slightly) && near == state;
        expect(stays, 7, at, "a state at most 1 s ahead of the clock was moved")?;

        now = Timestamp::from_micros(now.as_micros() - back);
        let frozen = strategy.decide(&mut state.clone(), &hit, now);
        let _ = strategy.rebase(&mut state, now);
        let moved = strategy.decide(&mut state.clone(), &hit, now);
        // By time of day the limits of the two times may differ.
        let same = frozen.is_allowed() == moved.is_allowed() || frozen.limit() != moved.limit();
        expect(same, 7, at, "moving a state to the present granted something")?;
        let lasts = strategy.expires_at(&state, hit.class).micros_since(now);
        expect(lasts <= strategy.max_ttl(), 7, at, "a state from the future lasts longer than max_ttl")?;

        let (start, mut admitted, mut is_due) = (now, 0u128, false);
        for _ in 0..ATTEMPTS {
            match strategy.decide(&mut state, &hit, now).outcome() {
                Outcome::Allow { .. } => {
                    admitted += u128::from(hit.cost);
                    is_due = false;
                    let bounded = admitted <= strategy.most(start, now);
                    expect(bounded, 7, at, "more than the bound was admitted after the clock was set back")?;
                }
                Outcome::Deny { retry_after } => {
                    expect(
                        !is_due,
                        7,
                        at,
                        "still denied after the promised wait, after the clock was set back",
                    )?;
                    let wait = (Timestamp::EPOCH + retry_after).as_micros();
                    // By then the whole limit is back, unless the hours then admit less.
                    let fresh =
                        strategy.peek(&S::State::default(), &hit, now.plus_micros(strategy.max_ttl()));
                    let longest = fresh.retry_after().unwrap_or_default();
                    let longest = (Timestamp::EPOCH.plus_micros(strategy.max_ttl()) + longest).as_micros();
                    expect(wait <= longest, 7, at, "a wait is longer than max_ttl")?;
                    now = now.plus_micros(wait);
                    is_due = true;
                }
                Outcome::Never => break,
            }
        }
    }
    Ok(())
}

/// Uses up a limit, and reports whether a hit is then denied for a time.
fn exhausts<S: Bounds>(strategy: &S, state: &mut S::State, hit: &Hit<u32>, now: Timestamp) -> bool {
    /// As many hits as a test has the time for; a strategy that needs more is tried with larger ones.
    const HITS: usize = 256;
    let whole = strategy.decide(&mut S::State::default(), &Hit { cost: 0, ..*hit }, now).remaining();
    let _ = strategy.decide(state, &Hit { cost: (whole / 2).max(1), ..*hit }, now);
    (0..HITS).any(|_| matches!(strategy.decide(state, hit, now).outcome(), Outcome::Deny { .. }))
}

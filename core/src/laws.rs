//! The laws of every strategy and every storage, as plain functions for your own tests.
//!
//! Call them with random runs (proptest, a fuzzer, or a loop). A broken law is an error with the fields
//! `law`, its number; `step`, the step of the run at which it shows; and `what`, the finding:
//!
//! ```
//! use traffik::laws::{self, Step};
//! use traffik::{Gcra, Rate, Timestamp};
//!
//! let strategy = Gcra::new(Rate::per_second(3));
//! let run = [Step::new(Timestamp::from_micros(5), 1), Step::new(Timestamp::from_micros(9), 1)];
//! laws::every(&strategy, &run)?;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! | law | function |
//! |---|---|
//! | 1. pure | [`pure`] |
//! | 2. never over | [`never_over`] |
//! | 3. never starved | [`never_starved`] |
//! | 4. a denial charges nothing | [`denial_is_free`] |
//! | 5. `retry_after`, `more_after` and `reset_after` are exact | [`waits_are_exact`] |
//! | 6. expiry is invisible | [`expiry_is_invisible`] |
//! | 7. time may step back | [`time_may_step_back`], [`clock_may_be_set_back`] |
//! | 8. a cost above the capacity is never admitted | [`too_large_is_never`] |
//! | 9. refund inverts the count | [`refund_inverts`] |
//! | 10. the codec round-trips | [`codec_round_trips`], [`any_bytes_decode_or_are_refused`] |
//! | 11. every storage agrees with the pure function | [`storage_agrees`] |
//! | 12. a limit may change under a state | [`limit_may_change`], [`limits_may_alternate`] |
//! | 12. time before a change counts at the old rate | [`change_is_settled`] |
//! | 12. a state may be brought forward | [`advance_is_invisible`] |
//!
//! A storage has a checklist of its own besides: [`storage`] for one that answers at once, and `awaited`
//! (feature `alloc`) for one whose answers are awaited.

use crate::strategy::{Bounds, decode, encode};
use crate::{Class, Decision, Hit, Outcome, Receipt, State, Strategy, Timestamp, Verdict};

#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub mod awaited;
mod change;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod conformance;
mod duties;
mod run;
mod set_back;
pub mod storage;
mod strategies;
mod waits;

pub use change::{advance_is_invisible, change_is_settled, limit_may_change, limits_may_alternate};
pub use run::Step;
use run::{LawResult, expect, follow};
pub use set_back::{clock_may_be_set_back, time_may_step_back};
pub use storage::agrees as storage_agrees;
pub use strategies::at_most;
pub use waits::waits_are_exact;

// A type of signatures that users do not name.
#[doc(hidden)]
pub use run::BrokenLaw;

/// Checks every law that needs only a strategy and a run: 1 to 10, without arbitrary bytes.
///
/// # Errors
///
/// Fails with the first broken law.
pub fn every<S: Bounds>(strategy: &S, run: &[Step]) -> LawResult {
    pure(strategy, run)?;
    never_over(strategy, run)?;
    never_starved(strategy, run)?;
    denial_is_free(strategy, run)?;
    waits_are_exact(strategy, run)?;
    expiry_is_invisible(strategy, run)?;
    time_may_step_back(strategy, run)?;
    clock_may_be_set_back(strategy, run)?;
    too_large_is_never(strategy, run)?;
    refund_inverts(strategy, run)?;
    codec_round_trips(strategy, run)
}

/// Law 1: the same arguments give the same verdict, a peek gives that verdict without a trace, and a verdict
/// that is not dirty left the state unchanged. [`FRESH`](State::FRESH) and the default are the same state.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn pure<S: Strategy>(strategy: &S, run: &[Step]) -> LawResult {
    let same = S::State::FRESH == S::State::default();
    expect(same, 1, 0, "the constant state of a key never seen differs from the default")?;
    follow(strategy, run, |at, step, before, verdict, after| {
        // Decided on a copy: both the verdict and the state must come out the same.
        let mut again = before.clone();
        let same = strategy.decide(&mut again, &step.hit(), step.at) == *verdict && again == *after;
        expect(same, 1, at, "the same hit was decided differently")?;
        expect(
            strategy.peek(before, &step.hit(), step.at) == *verdict,
            1,
            at,
            "a peek differs from the check",
        )?;
        expect(
            verdict.is_dirty() || before == after,
            1,
            at,
            "the state changed, but the verdict is not dirty",
        )
    })
}

/// Law 2: between any two admissions no more is admitted than the bound allows.
///
/// An admission with an earlier time than one recorded before it counts as of that later time.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn never_over<S: Bounds>(strategy: &S, run: &[Step]) -> LawResult {
    // Every step starts an interval once, so all intervals that admissions delimit are checked.
    for first in 0..run.len() {
        let (mut latest, mut start, mut admitted) = (Timestamp::EPOCH, None, 0u128);
        follow(strategy, run, |at, step, _, verdict, _| {
            if !verdict.is_dirty() {
                return Ok(());
            }
            latest = latest.max(step.at);
            if at < first || !verdict.outcome().is_allowed() {
                return Ok(());
            }
            admitted += u128::from(step.cost);
            let bound = strategy.most(*start.get_or_insert(latest), latest);
            expect(admitted <= bound, 2, at, "more was admitted than the bound")
        })?;
    }
    Ok(())
}

/// Law 3: a client that asks again as soon as it may gets the promised cost, also if it asks too early
/// between.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn never_starved<S: Bounds>(strategy: &S, run: &[Step]) -> LawResult {
    /// Enough attempts to leave the first burst behind and see drift.
    const ATTEMPTS: usize = 64;
    let Some(first) = run.first() else { return Ok(()) };
    let (mut state, mut admitted, mut now) = (S::State::default(), 0u128, first.at);
    let cost = first.cost.max(1);
    for _ in 0..ATTEMPTS {
        match strategy.decide(&mut state, &Hit::new(cost), now).outcome() {
            Outcome::Allow { .. } => admitted += u128::from(cost),
            Outcome::Deny { retry_after } => {
                let promised = strategy.least(first.at, now, cost);
                expect(
                    admitted >= promised,
                    3,
                    0,
                    "a client that asks again as soon as it may was admitted less than `least` promises",
                )?;
                // A denied hit half-way must not cost the client anything.
                let half = retry_after.as_micros() as u64 / 2;
                let _ = strategy.decide(&mut state, &Hit::new(cost), now.plus_micros(half));
                now = now + retry_after;
                if now == Timestamp::MAX {
                    break;
                }
            }
            Outcome::Never => break,
        }
    }
    Ok(())
}

/// Law 4: a denial leaves the state unchanged. A hit of cost 0 passes, and leaves it unchanged too.
///
/// Where a strategy records demand, and after a change of class, a denial may be recorded, but not twice.
///
/// # Errors
///
/// Fails if this law, or law 8 for a cost of 0, is broken.
pub fn denial_is_free<S: Strategy>(strategy: &S, run: &[Step]) -> LawResult {
    follow(strategy, run, |at, step, before, verdict, after| {
        let denied = !verdict.outcome().is_allowed();
        // Classes may have limits of their own, and a state drains at the rate of the last check's limit.
        let mut earlier = run.iter().take(at);
        let may_write = strategy.records_demand() || earlier.any(|earlier| earlier.class != step.class);
        if denied && may_write {
            let mut again = after.clone();
            let verdict = strategy.decide(&mut again, &step.hit(), step.at);
            let once = !verdict.outcome().is_allowed() && !verdict.is_dirty() && again == *after;
            expect(once, 4, at, "the same demand was recorded twice, or changed the decision")?;
        } else {
            expect(!denied || before == after, 4, at, "a denial changed the state")?;
        }
        let nothing = Step { cost: 0, ..*step };
        let mut state = after.clone();
        let verdict = strategy.decide(&mut state, &nothing.hit(), step.at);
        expect(verdict.outcome().is_allowed(), 8, at, "a hit of cost 0 was denied")?;
        expect(state == *after, 8, at, "a hit of cost 0 changed the state")
    })
}

/// Law 6: from `expires_at` on the state decides as that of a key never seen, and not earlier.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn expiry_is_invisible<S: Strategy>(strategy: &S, run: &[Step]) -> LawResult {
    follow(strategy, run, |at, step, _, _, after| {
        let expires_at = strategy.expires_at(after, step.class);
        if expires_at == Timestamp::MAX {
            return Ok(());
        }
        // Compares the state with a fresh one, by the verdict and by the state that an admission leaves.
        let differs = |now: Timestamp, cost| {
            let hit = Step { cost, ..*step }.hit();
            let (mut kept, mut forgotten) = (after.clone(), S::State::default());
            let verdict = strategy.decide(&mut kept, &hit, now);
            verdict != strategy.decide(&mut forgotten, &hit, now) || (verdict.is_dirty() && kept != forgotten)
        };
        for now in [expires_at, expires_at.plus_micros(1), expires_at.plus_micros(strategy.max_ttl())] {
            for cost in [1, step.cost, u32::MAX] {
                expect(
                    !differs(now, cost),
                    6,
                    at,
                    "a state past expires_at decides differently from a fresh one",
                )?;
            }
        }
        let earlier = Timestamp::from_micros(expires_at.as_micros().saturating_sub(1));
        let early =
            expires_at > step.at && earlier >= step.at && !differs(earlier, 0) && !differs(earlier, 1);
        expect(!early, 6, at, "the state was fresh before expires_at")
    })
}

/// Law 8: a cost that can never pass is `Never` at once, and a cost that can pass is never `Never`, unless
/// the cost in use stays for ever.
///
/// A fresh key has to wait only where the limit is going to be larger, and no longer than until it is.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn too_large_is_never<S: Bounds>(strategy: &S, run: &[Step]) -> LawResult {
    follow(strategy, run, |at, step, _, verdict, after| {
        let alone = strategy.peek(&S::State::default(), &step.hit(), step.at).outcome();
        if let Outcome::Deny { retry_after } = alone {
            let fresh = |now| strategy.peek(&S::State::default(), &step.hit(), now);
            let (before, then) = (fresh(step.at), fresh(step.at + retry_after));
            let grows = before.limit() < step.cost && before.limit() < then.limit() && then.is_allowed();
            expect(
                grows || step.at + retry_after == Timestamp::MAX,
                8,
                at,
                "a fresh key has to wait, but the limit is not about to grow",
            )?;
        }
        // Use that never expires may block a cost for ever, though a fresh key would admit it.
        let stays = strategy.expires_at(after, step.class) == Timestamp::MAX;
        let possible = match verdict.outcome() {
            Outcome::Never => alone == Outcome::Never || stays,
            _ => alone != Outcome::Never,
        };
        expect(possible, 8, at, "the verdict is Never, but a fresh key would be admitted, or the reverse")?;
        let bounded = !alone.is_allowed() || u128::from(step.cost) <= strategy.most(step.at, step.at);
        expect(bounded, 8, at, "a cost above the bound was admitted")
    })
}

/// Law 9: a refund leaves the figures as if the check had not been, frees nothing that others use, and never
/// lifts the level above full.
///
/// In a [queue](Bounds::QUEUES) a place whose turn has come may stay instead, for it may have been used. So
/// may a charge that by now has done the client more good than harm, for a refund takes nothing.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn refund_inverts<S: Bounds>(strategy: &S, run: &[Step]) -> LawResult {
    let nothing = |step: &Step| Step { cost: 0, ..*step }.hit();
    // A receipt of an earlier charge, refunded later: it must not free more than it took.
    let mut old: Option<(Receipt, Hit<u32>)> = None;
    let mut latest = Timestamp::EPOCH;
    follow(strategy, run, |at, step, before, verdict, after| {
        if verdict.is_dirty() {
            latest = latest.max(step.at);
        }
        let figures = |state: &S::State, now| strategy.peek(state, &nothing(step), now);
        if verdict.outcome().is_allowed() && verdict.is_dirty() {
            // A hit of cost 0 brings the state to this strategy, at whose rate it drains from then on.
            let mut before = before.clone();
            let _ = strategy.decide(&mut before, &nothing(step), latest);
            for wait in [0, 1, strategy.max_ttl() / 2] {
                let then = latest.plus_micros(wait);
                let mut state = after.clone();
                strategy.refund(&mut state, &step.hit(), verdict.receipt(), then);
                let (taken_back, never) = (figures(&state, then), figures(&before, then));
                // Lifted above full, a strategy still shows the figures of a full one, so use it up instead.
                let fullest = at_once(strategy, S::State::default(), step.class, then);
                let lifted = at_once(strategy, state.clone(), step.class, then) > fullest;
                expect(!lifted, 9, at, "a refund left more than a full limit")?;
                let shown = |it: &Decision| (it.remaining(), it.reset_after());
                let had_its_turn = match verdict.outcome() {
                    Outcome::Allow { after } => S::QUEUES && then > step.at + after,
                    _ => false,
                };
                let kept = figures(after, then);
                let repaid =
                    never.remaining() <= kept.remaining() && never.reset_after() >= kept.reset_after();
                let stays = (had_its_turn || repaid) && state == *after;
                let same = shown(&taken_back) == shown(&never);
                expect(same || stays, 9, at, "a refunded check left a trace")?;
            }
            // Once the state has expired, the receipt must not touch a charge that came later.
            let late = strategy.expires_at(after, step.class);
            if late != Timestamp::MAX {
                let mut state = S::State::default();
                strategy.charge(&mut state, &Step { cost: 1, ..*step }.hit(), late);
                let charged = state.clone();
                strategy.refund(&mut state, &step.hit(), verdict.receipt(), late);
                let same = figures(&state, late) == figures(&charged, late);
                expect(same, 9, at, "a refund came too late and freed what others use")?;
            }
        }
        if let Some((receipt, hit)) = old {
            let mut state = after.clone();
            strategy.refund(&mut state, &hit, receipt, latest);
            let (freed, kept) = (figures(&state, latest).remaining(), figures(after, latest).remaining());
            let most = kept.saturating_add(hit.cost);
            expect(freed <= most, 9, at, "a refund freed more than it had taken")?;
            expect(kept <= freed, 9, at, "a refund left less than before")?;
        }
        if verdict.outcome().is_allowed() && verdict.is_dirty() {
            old = Some((verdict.receipt(), step.hit()));
        }
        Ok(())
    })
}

/// Returns the most that can be had at one time, in hits that each cost half as much as the one before.
fn at_once<S: Strategy<Cost = u32>>(strategy: &S, mut state: S::State, class: Class, now: Timestamp) -> u64 {
    let costs = (0..u32::BITS).rev().map(|bit| 1 << bit);
    let admitted = costs.filter(|cost| {
        strategy.decide(&mut state, &Hit::new(*cost).with_class(class), now).outcome().is_allowed()
    });
    admitted.map(u64::from).sum()
}

/// The length of the longest state, in bytes, that the codec laws have room for.
const ROOM: usize = 4096;

/// Law 10: a state read back from its own bytes is the same, and no part of those bytes is a state.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn codec_round_trips<S: Strategy>(strategy: &S, run: &[Step]) -> LawResult {
    follow(strategy, run, |at, _, _, _, after| is_read_back(after, at))
}

fn is_read_back<T: State>(state: &T, at: usize) -> LawResult {
    let mut buffer = [0; ROOM];
    let length = encode(state, &mut buffer).filter(|length| *length <= T::MAX_LEN);
    let Some(bytes) = length.and_then(|length| buffer.get(..length)) else {
        return expect(false, 10, at, "the encoded state is longer than MAX_LEN");
    };
    expect(
        decode::<T>(bytes).as_ref() == Ok(state),
        10,
        at,
        "a state changed when it was encoded and decoded",
    )?;
    // A form that determines its own length refuses every beginning of itself.
    let mut shorter = (0..bytes.len()).filter_map(|end| bytes.get(..end));
    let refused = shorter.all(|part| decode::<T>(part).is_err());
    expect(refused, 10, at, "the beginning of an encoded state was decoded as a whole one")
}

/// Law 10: bytes from anywhere are refused, or are a state that survives every operation and is read back the
/// same after each.
///
/// # Errors
///
/// Fails if this law is broken.
pub fn any_bytes_decode_or_are_refused<S: Strategy>(strategy: &S, bytes: &[u8], run: &[Step]) -> LawResult {
    let Ok(mut state) = decode::<S::State>(bytes) else { return Ok(()) };
    is_read_back(&state, 0)?;
    for (at, step) in run.iter().enumerate() {
        let verdict = strategy.decide(&mut state, &step.hit(), step.at);
        is_read_back(&state, at)?;
        strategy.refund(&mut state, &step.hit(), verdict.receipt(), step.at);
        is_read_back(&state, at)?;
        strategy.charge(&mut state, &step.hit(), step.at);
        is_read_back(&state, at)?;
        let _ = (strategy.stat(&state, step.class, step.at), strategy.expires_at(&state, step.class));
    }
    Ok(())
}

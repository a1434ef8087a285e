//! The duties of a storage, written once for both kinds: those that answer at once, and those that are
//! awaited.

use core::future::Future;

use super::{BrokenLaw, Step, expect};
use crate::strategy::encode;
use crate::{Cost, Hit, Op, Outcome, Strategy, Timestamp, Verdict};

/// A storage of either kind, under one strategy.
pub(super) trait TestedStorage<S: Strategy> {
    type Error: From<BrokenLaw>;

    fn apply(&self, key: &[u8], op: Op<S>) -> impl Future<Output = Result<S::Verdict, Self::Error>>;

    fn load(&self, key: &[u8]) -> impl Future<Output = Result<(S::State, Timestamp), Self::Error>>;
}

/// The result of one duty.
type DutyResult<S, M, T = ()> = Result<T, <M as TestedStorage<S>>::Error>;

/// Returns names that a careless storage confuses, truncates, folds, or cannot store.
pub(super) fn hostile_names() -> impl Iterator<Item = &'static [u8]> + Clone {
    const NAMES: [&[u8]; 22] = [
        b"", b" ", b"\0", b"\r\n", b"a", b"a ", b" a", b"A", b"a\0", b"a\0b", b"a\r\nb", b"a\nb", b"a b",
        b"ab", b"a:b", b"a/b", b"../a", b"..", b"{a}b", b"%61", b"a%", b"*",
    ];
    const FOREIGN: [&[u8]; 2] = [b"\xff\xfe", "ä".as_bytes()];
    const LONG: &[u8; 301] = &[b'x'; 301];
    // The last three begin alike, for longer than many stores allow for names.
    let long = [249, 300, 301].into_iter().filter_map(|length| LONG.get(..length));
    NAMES.into_iter().chain(FOREIGN).chain(long)
}

/// Returns how many hits of cost 1 pass a fresh key at once.
pub(super) fn full<S: Strategy>(strategy: &S, now: Timestamp) -> Result<usize, BrokenLaw> {
    let mut state = S::State::default();
    let admits = |_: &usize| strategy.decide(&mut state, &one::<S>(), now).outcome().is_allowed();
    let passed = (0..=MOST).take_while(admits).count();
    let what = "this strategy is unsuitable: choose one that admits from 2 to 1000 hits at once, and no more for a while";
    expect((2..=MOST).contains(&passed), 11, 0, what).map(|()| passed)
}

/// More hits than a test has the time for.
const MOST: usize = 1_000;

pub(super) fn one<S: Strategy>() -> Hit<S::Cost> {
    Hit::new(S::Cost::uniform(1))
}

/// Checks hits of cost 1 until one is denied, and returns how many passed.
pub(super) async fn drain<S: Strategy, M: TestedStorage<S>>(
    subject: &M,
    key: &[u8],
) -> DutyResult<S, M, usize> {
    for passed in 0..=MOST {
        if !is_allowed(subject, key, Op::Check(one::<S>())).await? {
            return Ok(passed);
        }
    }
    Err(BrokenLaw { law: 2, step: 0, what: "the storage never denies" }.into())
}

async fn is_allowed<S: Strategy, M: TestedStorage<S>>(
    subject: &M,
    key: &[u8],
    op: Op<S>,
) -> DutyResult<S, M, bool> {
    Ok(subject.apply(key, op).await?.outcome().is_allowed())
}

/// Resets a key, and returns how many hits pass it at once.
pub(super) async fn afresh<S: Strategy, M: TestedStorage<S>>(
    strategy: &S,
    subject: &M,
    key: &[u8],
) -> DutyResult<S, M, usize> {
    let _ = subject.apply(key, Op::Reset).await?;
    // The storage's own time, since hours may change how much a limit admits.
    let (_, now) = subject.load(key).await?;
    Ok(full(strategy, now)?)
}

pub(super) async fn agrees<S: Strategy, M: TestedStorage<S>>(
    strategy: &S,
    subject: &M,
    key: &[u8],
    run: &[Step],
    mut set: impl FnMut(Timestamp),
) -> DutyResult<S, M> {
    let mut state = S::State::default();
    // The pure function runs beside the storage, and both must agree on every operation.
    for (at, step) in run.iter().enumerate() {
        set(step.at);
        let verdict = strategy.decide(&mut state, &step.hit(), step.at);
        let peeked = subject.apply(key, Op::Peek(step.hit())).await?;
        expect(peeked == verdict, 11, at, "the storage peeked differently")?;
        let checked = subject.apply(key, Op::Check(step.hit())).await?;
        expect(checked == verdict, 11, at, "the storage decided differently")?;
        if at % 3 == 2 && verdict.outcome().is_allowed() && verdict.is_dirty() {
            let mut state = state.clone();
            strategy.refund(&mut state, &step.hit(), verdict.receipt(), step.at);
            let nothing = Step { cost: 0, ..*step }.hit();
            let refunded = subject.apply(key, Op::Refund(step.hit(), verdict.receipt())).await?;
            let same = refunded == strategy.peek(&state, &nothing, step.at);
            expect(same, 11, at, "the storage refunded differently")?;
            // Charged again, the key is in the state of the pure function.
            let _ = subject.apply(key, Op::Check(step.hit())).await?;
        }
    }
    Ok(())
}

pub(super) async fn denial_writes_nothing<S: Strategy, M: TestedStorage<S>>(
    strategy: &S,
    subject: &M,
    mut writes: impl AsyncFnMut() -> u64,
) -> DutyResult<S, M> {
    const KEY: &[u8] = b"traffik law 4: denied";
    afresh(strategy, subject, KEY).await?;
    drain(subject, KEY).await?;
    let (before, _) = subject.load(KEY).await?;
    let written = writes().await;
    for (at, cost) in [1, 1, u32::MAX, 1].into_iter().enumerate() {
        let denied = !is_allowed(subject, KEY, Op::Check(Hit::new(S::Cost::uniform(cost)))).await?;
        expect(denied, 2, at, "the storage admitted more than the limit")?;
    }
    let (after, _) = subject.load(KEY).await?;
    // Strategies that record demand write one denial.
    let same = before == after || strategy.records_demand();
    expect(same, 4, 0, "a denial changed the stored state")?;
    let kept = writes().await == written || strategy.records_demand();
    Ok(expect(kept, 4, 0, "a denial was written to the store")?)
}

pub(super) async fn keys_are_apart<S: Strategy, M: TestedStorage<S>>(
    strategy: &S,
    subject: &M,
) -> DutyResult<S, M> {
    let names = || hostile_names().enumerate();
    let mut admits = 0;
    for (_, name) in names() {
        admits = afresh(strategy, subject, name).await?;
    }
    // All keys are used up one after another, so a hit charged to the wrong key shows as one too few.
    for (at, name) in names() {
        let passed = drain(subject, name).await?;
        expect(passed == admits, 11, at, "a key was charged for another one, or was not stored")?;
    }
    for (at, name) in names() {
        let kept = !is_allowed(subject, name, Op::Peek(one::<S>())).await?;
        expect(kept, 11, at, "a key was forgotten when another one was used or reset")?;
        let _ = subject.apply(name, Op::Reset).await?;
    }
    Ok(())
}

pub(super) async fn refund_takes_back<S: Strategy, M: TestedStorage<S>>(
    strategy: &S,
    subject: &M,
) -> DutyResult<S, M> {
    const KEY: &[u8] = b"traffik law 9: refunded";
    let admits = afresh(strategy, subject, KEY).await?;
    let (mut state, now) = subject.load(KEY).await?;
    let verdict = strategy.decide(&mut state, &one::<S>(), now);
    strategy.refund(&mut state, &one::<S>(), verdict.receipt(), now.plus_micros(1));
    if remaining(strategy, &state, now) != remaining(strategy, &S::State::default(), now) {
        // A place in a queue that has been used by now cannot be taken back.
        return Ok(());
    }
    // Twice as many as fit would not pass if a refund lost anything.
    for round in 0..admits * 2 {
        let verdict = subject.apply(KEY, Op::Check(one::<S>())).await?;
        expect(verdict.outcome().is_allowed(), 9, round, "the refunded cost could not be used again")?;
        let _ = subject.apply(KEY, Op::Refund(one::<S>(), verdict.receipt())).await?;
    }
    expect(drain(subject, KEY).await? == admits, 9, 0, "a refunded check left a trace")?;
    let _ = subject.apply(KEY, Op::Reset).await?;
    let verdict = subject.apply(KEY, Op::Check(one::<S>())).await?;
    let _ = subject.apply(KEY, Op::Reset).await?;
    let _ = subject.apply(KEY, Op::Refund(one::<S>(), verdict.receipt())).await?;
    let same = drain(subject, KEY).await? == admits;
    Ok(expect(same, 9, 1, "a refund for a key that was reset left more than a full limit")?)
}

/// Returns the least that remains of any limit of the strategy.
fn remaining<S: Strategy>(strategy: &S, state: &S::State, now: Timestamp) -> u32 {
    let mut least = u32::MAX;
    strategy.peek(state, &one::<S>().free(), now).for_each(&mut |it| least = least.min(it.remaining()));
    least
}

pub(super) async fn reset_starts_afresh<S: Strategy, M: TestedStorage<S>>(
    strategy: &S,
    subject: &M,
) -> DutyResult<S, M> {
    const KEY: &[u8] = b"traffik law 11: reset";
    let admits = afresh(strategy, subject, KEY).await?;
    for round in 0..3 {
        expect(drain(subject, KEY).await? == admits, 11, round, "a key that was reset did not start fresh")?;
        let passes = is_allowed(subject, KEY, Op::Reset).await?;
        let now = is_allowed(subject, KEY, Op::Peek(one::<S>())).await?;
        expect(passes && now, 11, round, "a key that was reset still denies")?;
    }
    Ok(())
}

pub(super) async fn peek_is_free<S: Strategy, M: TestedStorage<S>>(
    strategy: &S,
    subject: &M,
) -> DutyResult<S, M> {
    const KEY: &[u8] = b"traffik law 1: peeked";
    let admits = afresh(strategy, subject, KEY).await?;
    for passed in 0..=admits {
        let mut passes = true;
        for _ in 0..3 {
            passes = is_allowed(subject, KEY, Op::Peek(one::<S>())).await?;
            expect(
                passes == (passed < admits),
                1,
                passed,
                "a peek charged something, or its verdict differs from that of a check",
            )?;
        }
        let checked = is_allowed(subject, KEY, Op::Check(one::<S>())).await?;
        expect(checked == passes, 1, passed, "a check differs from the peek right before it")?;
    }
    Ok(())
}

pub(super) async fn clock_may_be_set_back<S: Strategy, M: TestedStorage<S>>(
    strategy: &S,
    subject: &M,
    mut set: impl FnMut(Timestamp),
) -> DutyResult<S, M> {
    const KEY: &[u8] = b"traffik law 7: set back";
    /// More microseconds than a storage may attribute to one late reader: 60 seconds.
    const FAR: u64 = 60_000_000;
    let (_, mut now) = subject.load(KEY).await?;
    let max_ttl = strategy.max_ttl();
    for (step, back) in [FAR, 86_400_000_000].into_iter().enumerate() {
        let admits = afresh(strategy, subject, KEY).await?;
        let drained = drain(subject, KEY).await?;
        expect(drained == admits, 2, step, "the storage did not admit exactly the limit")?;
        // Further back than the state can last, which no inexact clock explains.
        now = Timestamp::from_micros(now.as_micros().saturating_sub(max_ttl.saturating_add(back)));
        let then = now;
        // Follows each wait, as a client would; together they must stay within `max_ttl`.
        loop {
            set(now);
            match subject.apply(KEY, Op::Check(one::<S>())).await?.outcome() {
                Outcome::Deny { retry_after } => now = now + retry_after,
                Outcome::Never => expect(false, 7, step, "the storage never admits a key again")?,
                Outcome::Allow { .. } => break,
            }
            // The state was moved to `then` at the latest, so nothing lasts beyond `then + max_ttl`.
            let lasts = now.micros_since(then);
            expect(lasts <= max_ttl, 7, step, SET_BACK)?;
        }
    }
    Ok(())
}

const SET_BACK: &str =
    "a key was denied for longer than its limit lasts: rebase its state, and write it even after a denial";

pub(super) async fn corrupt_is_never_seen<S: Strategy, M: TestedStorage<S>>(
    strategy: &S,
    subject: &M,
    mut plant: impl AsyncFnMut(&[u8], &[u8]),
) -> DutyResult<S, M> {
    const KEY: &[u8] = b"traffik law 10: corrupt";
    let admits = afresh(strategy, subject, KEY).await?;
    let (_, now) = subject.load(KEY).await?;
    // An encoded state and a byte too many, so that all its beginnings are available as well.
    let (mut buffer, mut state) = ([0xff; LONGEST], S::State::default());
    strategy.charge(&mut state, &one::<S>(), now);
    let length = encode(&state, &mut buffer).unwrap_or(0);
    let ends = [0, 1, length / 2, length.saturating_sub(1), length + 1, LONGEST];
    for (at, end) in ends.into_iter().enumerate().filter(|(_, end)| *end != length) {
        plant(KEY, buffer.get(..end).unwrap_or_default()).await;
        let passed = drain(subject, KEY).await?;
        expect(passed == admits, 10, at, "bytes that are no state did not count as a key never seen")?;
    }
    plant(KEY, b"\xffthese are no state\r\n\0").await;
    let (state, _) = subject.load(KEY).await?;
    Ok(expect(state == S::State::default(), 10, ends.len(), "bytes that are no state were loaded as one")?)
}

/// The length of the longest state, in bytes, that is cut up.
const LONGEST: usize = 256;

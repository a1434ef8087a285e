//! The duties of a storage, as a checklist for one whose answers are awaited.
//!
//! The duties and their arguments are those of [`storage`](super::storage). Time is the storage's own: a
//! limit of 5 per hour hardly refills during a test.
//!
//! Each function waits only for the storage's answers, and for as long as those take. A dropped future leaves
//! the keys of the test, named `traffik law ..`, as they are; the next run resets them.
//!
//! ```
//! use traffik::laws::awaited::{self, ConformanceError};
//! use traffik::storage::AsyncStorage;
//! use traffik::{Rate, TokenBucket};
//!
//! async fn conforms(mine: &impl AsyncStorage<TokenBucket>) -> Result<(), ConformanceError> {
//!     awaited::every(&TokenBucket::new(Rate::per_hour(5)), mine).await
//! }
//! ```
//!
//! | duty | function | what you give |
//! |---|---|---|
//! | agrees with the pure function | [`agrees`], [`agrees_by_its_clock`] | a run and a clock, or costs |
//! | a denial writes nothing | [`denial_writes_nothing`] | how often the store was written to |
//! | keys are separate, whatever their names | [`keys_are_apart`] | |
//! | a refund takes back what its receipt says | [`refund_takes_back`] | |
//! | a reset starts a key fresh | [`reset_starts_afresh`] | |
//! | a peek charges nothing | [`peek_is_free`] | |
//! | racers for one key admit exactly the limit | [`racers_admit_the_limit`] | |
//! | a clock that was set back locks no key out | [`clock_may_be_set_back`] | how to set the clock |
//! | bytes that are no state count as a key never seen | [`corrupt_is_never_seen`] | how to write them |

use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;

use super::duties::{self, TestedStorage, afresh, drain, one};
use super::{Step, expect};
use crate::storage::AsyncStorage;
use crate::{Class, Cost, Decision, ErrorKind, Hit, Op, Outcome, Receipts, Strategy, Timestamp, Verdict};

// A type of signatures that users do not name.
#[doc(hidden)]
pub use super::conformance::ConformanceError;

/// The result of one duty.
type ConformanceResult = Result<(), ConformanceError>;

/// Checks every duty that needs only a strategy and a storage.
///
/// The others need something of yours: [`agrees`], [`denial_writes_nothing`], [`corrupt_is_never_seen`],
/// [`clock_may_be_set_back`].
///
/// Waits for the storage's answers; a dropped future leaves the keys of the test in the storage.
///
/// # Errors
///
/// Fails with the first broken law, or with a failure of the storage.
pub async fn every<S: Strategy>(strategy: &S, storage: &impl AsyncStorage<S>) -> ConformanceResult {
    keys_are_apart(strategy, storage).await?;
    refund_takes_back(strategy, storage).await?;
    reset_starts_afresh(strategy, storage).await?;
    peek_is_free(strategy, storage).await?;
    denial_writes_nothing(strategy, storage, async || 0).await?;
    racers_admit_the_limit(strategy, storage).await?;
    agrees_by_its_clock(strategy, storage, &[1, 1, 2, 0, 1, 3, 1, 1, 4, 1, 1, 1]).await
}

/// Law 11: over any run, a storage answers as the pure function does, if `set` can set its clock.
///
/// Times must not step back, and the key must be one never seen. Waits for the storage's answers; a dropped
/// future leaves the key as it is.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn agrees<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
    key: &str,
    run: &[Step],
    set: impl FnMut(Timestamp),
) -> ConformanceResult {
    duties::agrees(strategy, &AsyncSubject { strategy, storage }, key.as_bytes(), run, set).await
}

/// Law 11: a storage with a clock of its own answers as the pure function does, at some time around the call.
///
/// That time lies between the clock's readings right before and right after. Charges, peeks and refunds hits
/// of these costs in turn, as fast as it can, with any limit. Waits for the storage's answers; a dropped
/// future leaves its key as it is.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn agrees_by_its_clock<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
    costs: &[u32],
) -> ConformanceResult {
    const KEY: &[u8] = b"traffik law 11: agreed on";
    // The key may still hold the state of an earlier run.
    let subject = AsyncSubject { strategy, storage };
    let _ = subject.apply(KEY, Op::Reset).await?;
    // Of four operations one is a peek and one a refund, so that each follows a charge.
    let mut taken = None;
    for (at, cost) in costs.iter().enumerate() {
        let hit = Hit::new(S::Cost::uniform(*cost));
        let op = match (at % 4, taken) {
            (1, _) => Op::Peek(hit),
            (3, Some((hit, receipt))) => Op::Refund(hit, receipt),
            _ => Op::Check(hit),
        };
        // No other task uses the key, so the loads around the operation see its state before and after.
        let (before, earliest) = subject.load(KEY).await?;
        let verdict = subject.apply(KEY, op).await?;
        let (after, latest) = subject.load(KEY).await?;
        let seen = Observation { before, earliest, after, latest };
        expect(seen.agrees(strategy, &op, &verdict), 11, at, "the storage decided differently")?;
        taken =
            (matches!(op, Op::Check(_)) && verdict.outcome().is_allowed()).then(|| (hit, verdict.receipt()));
    }
    Ok(())
}

/// Law 4: a denial changes nothing that is stored, and writes nothing.
///
/// `writes` returns how often the store has been written to so far, or a constant if that cannot be known.
/// Waits for the storage's answers and `writes`; a dropped future leaves its key used up.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn denial_writes_nothing<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
    writes: impl AsyncFnMut() -> u64,
) -> ConformanceResult {
    duties::denial_writes_nothing(strategy, &AsyncSubject { strategy, storage }, writes).await
}

/// Law 11: an operation on one key does not change another, whatever their names.
///
/// The names are empty, or hold spaces, line ends, zero bytes, other bytes than text, up to 301 bytes, or the
/// beginning of another name. Waits for the storage's answers; a dropped future leaves these keys as they
/// are.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn keys_are_apart<S: Strategy>(strategy: &S, storage: &impl AsyncStorage<S>) -> ConformanceResult {
    duties::keys_are_apart(strategy, &AsyncSubject { strategy, storage }).await
}

/// Law 9: a refunded check leaves no trace, and a refund for a key that was reset meanwhile frees nothing.
///
/// Passes for a queue, whose places are used up as their turns come; [`agrees`] checks its refunds. Waits for
/// the storage's answers; a dropped future leaves its key as it is.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn refund_takes_back<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
) -> ConformanceResult {
    duties::refund_takes_back(strategy, &AsyncSubject { strategy, storage }).await
}

/// Law 11: a key that was reset is as one never seen.
///
/// Waits for the storage's answers; a dropped future leaves its key as it is.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn reset_starts_afresh<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
) -> ConformanceResult {
    duties::reset_starts_afresh(strategy, &AsyncSubject { strategy, storage }).await
}

/// Law 1: a peek returns what a check would, and charges nothing.
///
/// Waits for the storage's answers; a dropped future leaves its key as it is.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn peek_is_free<S: Strategy>(strategy: &S, storage: &impl AsyncStorage<S>) -> ConformanceResult {
    duties::peek_is_free(strategy, &AsyncSubject { strategy, storage }).await
}

/// Law 2: concurrent checks of one key admit exactly the limit.
///
/// A check that fails with [`ErrorKind::Contended`] must not have been charged. One task awaits all checks;
/// call this from several tasks to have them on several threads. Waits for the storage's answers; a dropped
/// future drops the checks on their way, and leaves its key as it is.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn racers_admit_the_limit<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
) -> ConformanceResult {
    const KEY: &[u8] = b"traffik law 2: raced for";
    /// The number of checks beyond the limit.
    const TOO_MANY: usize = 16;
    let subject = AsyncSubject { strategy, storage };
    let admits = afresh(strategy, &subject, KEY).await?;
    let check = |_| storage.apply(strategy, &KEY, &Op::Check(one::<S>()));
    let mut racing: Vec<_> = (0..admits + TOO_MANY).map(check).collect();
    let (mut admitted, mut failed) = (0, None);
    // Polls all replies in each turn, and drops those that are ready: their order must not matter.
    poll_fn(|context| {
        racing.retain_mut(|reply| match Pin::new(reply).poll(context) {
            Poll::Pending => true,
            Poll::Ready(answer) => {
                match answer {
                    Ok(verdict) => admitted += usize::from(verdict.outcome().is_allowed()),
                    // Not charged, so its place is drained below.
                    Err(failure) if failure.kind() == ErrorKind::Contended => {}
                    Err(failure) => failed = Some(failure),
                }
                false
            }
        });
        if racing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    failed.map_or(Ok(()), |failure| Err(ConformanceError::Failed(failure)))?;
    // Contended checks were not charged, so the cost that they left can still be admitted.
    let all = admitted + drain(&subject, KEY).await?;
    Ok(expect(all == admits, 2, all, "concurrent checks did not admit exactly the limit")?)
}

/// Law 7: a used-up key is admitted again within [`max_ttl`](Strategy::max_ttl) of a clock that was set far
/// back, if `set` can set the storage's clock.
///
/// For a storage that only one clock writes to. Waits for the storage's answers; a dropped future leaves the
/// key as it is.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn clock_may_be_set_back<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
    set: impl FnMut(Timestamp),
) -> ConformanceResult {
    duties::clock_may_be_set_back(strategy, &AsyncSubject { strategy, storage }, set).await
}

/// Law 10: bytes that are no state count as a key never seen, and are overwritten.
///
/// `plant` gets a key and bytes, and writes the bytes where the storage keeps the state of the key. Waits for
/// the storage's answers and `plant`; a dropped future leaves its key as it is.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub async fn corrupt_is_never_seen<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
    plant: impl AsyncFnMut(&[u8], &[u8]),
) -> ConformanceResult {
    duties::corrupt_is_never_seen(strategy, &AsyncSubject { strategy, storage }, plant).await
}

/// A storage whose answers are awaited, under one strategy.
struct AsyncSubject<'a, S, M> {
    strategy: &'a S,
    storage: &'a M,
}

impl<S: Strategy, M: AsyncStorage<S>> TestedStorage<S> for AsyncSubject<'_, S, M> {
    type Error = ConformanceError;

    async fn apply(&self, key: &[u8], op: Op<S>) -> Result<S::Verdict, ConformanceError> {
        Ok(self.storage.apply(self.strategy, &key, &op).await?)
    }

    async fn load(&self, key: &[u8]) -> Result<(S::State, Timestamp), ConformanceError> {
        Ok(self.storage.load(self.strategy, &key).await?)
    }
}

/// The state and the time of a storage right before and right after an operation.
struct Observation<S: Strategy> {
    before: S::State,
    earliest: Timestamp,
    after: S::State,
    latest: Timestamp,
}

impl<S: Strategy> Observation<S> {
    /// Reports whether the pure function gives this verdict and this state at some time in between.
    ///
    /// Every verdict reveals its time, so few times have to be tried: a charge by its receipt, a denial by
    /// its wait, and any other by its time to fresh, since all of these are exact.
    fn agrees(&self, strategy: &S, op: &Op<S>, verdict: &S::Verdict) -> bool {
        let expires_at = strategy.expires_at(&self.after, op.class());
        let mut agrees = self.agrees_at(strategy, op, verdict, self.earliest)
            || self.agrees_at(strategy, op, verdict, self.latest)
            || self.agrees_at(strategy, op, verdict, earlier(expires_at, reset_after(verdict)));
        verdict.receipt().for_each(&mut |receipt| {
            agrees = agrees || self.agrees_at(strategy, op, verdict, receipt.at());
        });
        // A denial at t waits until first + wait, so t = (earliest + first wait) − wait.
        let first = op.apply(strategy, &mut self.before.clone(), self.earliest).0;
        if let (Outcome::Deny { retry_after: first }, Outcome::Deny { retry_after: then }) =
            (first.outcome(), verdict.outcome())
        {
            agrees = agrees || self.agrees_at(strategy, op, verdict, earlier(self.earliest + first, then));
        }
        agrees
    }

    fn agrees_at(&self, strategy: &S, op: &Op<S>, verdict: &S::Verdict, now: Timestamp) -> bool {
        let mut state = self.before.clone();
        let (expected, written) = op.apply(strategy, &mut state, now);
        let state = if written { &state } else { &self.before };
        // A store may drop a fresh state, and need not keep details that change no decision.
        let is_fresh = strategy.expires_at(state, op.class()) <= self.latest;
        let kept = *state == self.after
            || (is_fresh && self.after == S::State::default())
            || alike(strategy, op.class(), [state, &self.after], self.latest);
        // The clock may have stepped back between the two readings.
        let in_between = self.earliest.min(self.latest) <= now && now <= self.latest.max(self.earliest);
        in_between && kept && expected == *verdict
    }
}

/// Reports whether two states decide alike.
///
/// A store need not keep details that change no decision, such as the time of the last hit in its window.
fn alike<S: Strategy>(strategy: &S, class: Class, states: [&S::State; 2], now: Timestamp) -> bool {
    let decided = states.map(|state| {
        let peek = |cost| strategy.peek(state, &Hit::new(S::Cost::uniform(cost)).with_class(class), now);
        (strategy.expires_at(state, class), [0, 1, 2].map(peek))
    });
    let [one, other] = &decided;
    one == other
}

fn reset_after(verdict: &impl Verdict) -> Duration {
    let mut longest = Duration::ZERO;
    verdict.for_each(&mut |it: &Decision| longest = longest.max(it.reset_after()));
    longest
}

/// Returns a time earlier by a duration, which is in whole microseconds.
fn earlier(then: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    Timestamp::from_micros(then.as_micros().saturating_sub(by))
}

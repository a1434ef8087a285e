//! What every storage owes, as a checklist for one whose answers are awaited.
//!
//! The duties are those of [`storage`](super::storage), and so is what to give them. Time is the storage's own: a limit
//! of 5 per hour stands still long enough.
//!
//! ```
//! use traffik::laws::awaited::{self, NotHeld};
//! use traffik::storage::AsyncStorage;
//! use traffik::{Rate, TokenBucket};
//!
//! async fn conforms(mine: &impl AsyncStorage<TokenBucket>) -> Result<(), NotHeld> {
//!     awaited::every(&TokenBucket::new(Rate::per_hour(5)), mine).await
//! }
//! ```
//!
//! | duty | function | what you give |
//! |---|---|---|
//! | agrees with the pure function | [`agrees`], [`agrees_by_its_clock`] | a run and how to set the clock, or costs |
//! | a denial writes nothing | [`denial_writes_nothing`] | how often the store was written to |
//! | keys are apart, whatever their names | [`keys_are_apart`] | |
//! | a refund takes back what its receipt says | [`refund_takes_back`] | |
//! | a reset starts a key afresh | [`reset_starts_afresh`] | |
//! | a peek charges nothing | [`peek_is_free`] | |
//! | racers for one key admit exactly the limit | [`racers_admit_the_limit`] | |
//! | bytes that are no state count as a key never seen | [`corrupt_is_never_seen`] | how to write such bytes |

use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;

use super::duties::{self, Subject, afresh, drain, one};
use super::{Broken, Step, expect};
use crate::storage::{AsyncStorage, BackendError};
use crate::{Class, Cost, Decision, ErrorKind, Hit, Op, Outcome, Receipts, Strategy, Timestamp, Verdict};

/// Why a storage does not conform: a broken law, or a failure of the storage.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub enum NotHeld {
    /// A law is broken.
    Broken(Broken),
    /// The storage failed.
    Failed(BackendError),
}

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::Failed(failure) => write!(f, "the storage failed: {failure}"),
        }
    }
}

impl Error for NotHeld {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Broken(_) => None,
            Self::Failed(failure) => Some(failure),
        }
    }
}

from! { NotHeld: Broken => Broken, BackendError => Failed, }

type Held = Result<(), NotHeld>;

/// Every duty that needs nothing but a limit and a storage.
pub async fn every<S: Strategy>(strategy: &S, storage: &impl AsyncStorage<S>) -> Held {
    keys_are_apart(strategy, storage).await?;
    refund_takes_back(strategy, storage).await?;
    reset_starts_afresh(strategy, storage).await?;
    peek_is_free(strategy, storage).await?;
    denial_writes_nothing(strategy, storage, async || 0).await?;
    racers_admit_the_limit(strategy, storage).await?;
    agrees_by_its_clock(strategy, storage, &[1, 1, 2, 0, 1, 3, 1, 1, 4, 1, 1, 1]).await
}

/// Law 11: over any run, a storage answers what the pure function does, if its clock can be set: `set` does. Times
/// must not step back, and the key must be one never seen.
pub async fn agrees<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
    key: &str,
    run: &[Step],
    set: impl FnMut(Timestamp),
) -> Held {
    duties::agrees(strategy, &Awaited { strategy, storage }, key.as_bytes(), run, set).await
}

/// Law 11: a storage with a clock of its own answers what the pure function does at some time between what that clock
/// told right before and right after. Charges, peeks and refunds hits of these costs in turn, as fast as it can; any
/// limit will do.
pub async fn agrees_by_its_clock<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
    costs: &[u32],
) -> Held {
    const KEY: &[u8] = b"traffik law 11: agreed on";
    let subject = Awaited { strategy, storage };
    let _ = subject.apply(KEY, Op::Reset).await?;
    let mut taken = None;
    for (at, cost) in costs.iter().enumerate() {
        let hit = Hit::new(S::Cost::uniform(*cost));
        let op = match (at % 4, taken) {
            (1, _) => Op::Peek(hit),
            (3, Some((hit, receipt))) => Op::Refund(hit, receipt),
            _ => Op::Check(hit),
        };
        let (before, earliest) = subject.load(KEY).await?;
        let verdict = subject.apply(KEY, op).await?;
        let (after, latest) = subject.load(KEY).await?;
        let seen = Seen { before, earliest, after, latest };
        expect(seen.agrees(strategy, &op, &verdict), 11, at, "the storage decided differently")?;
        taken =
            (matches!(op, Op::Check(_)) && verdict.outcome().is_allowed()).then(|| (hit, verdict.receipt()));
    }
    Ok(())
}

/// Law 4: a denial changes nothing that is stored, and writes nothing: `writes` tells how often the store has been
/// written to so far, or always the same if that cannot be known.
pub async fn denial_writes_nothing<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
    writes: impl AsyncFnMut() -> u64,
) -> Held {
    duties::denial_writes_nothing(strategy, &Awaited { strategy, storage }, writes).await
}

/// Law 11: what is done to one key is not done to another, whatever their names: empty ones, spaces, line ends, zero
/// bytes, no text at all, 300 bytes, the beginning of another.
pub async fn keys_are_apart<S: Strategy>(strategy: &S, storage: &impl AsyncStorage<S>) -> Held {
    duties::keys_are_apart(strategy, &Awaited { strategy, storage }).await
}

/// Law 9: a check that is taken back by its receipt leaves no trace, and one that was forgotten meanwhile frees
/// nothing. Nothing is asked of a queue, whose places are used up as their turn comes; what can be taken back of it is
/// in [`agrees`].
pub async fn refund_takes_back<S: Strategy>(strategy: &S, storage: &impl AsyncStorage<S>) -> Held {
    duties::refund_takes_back(strategy, &Awaited { strategy, storage }).await
}

/// Law 11: a key that was reset is a key never seen.
pub async fn reset_starts_afresh<S: Strategy>(strategy: &S, storage: &impl AsyncStorage<S>) -> Held {
    duties::reset_starts_afresh(strategy, &Awaited { strategy, storage }).await
}

/// Law 1: a peek tells what a check would, and charges nothing.
pub async fn peek_is_free<S: Strategy>(strategy: &S, storage: &impl AsyncStorage<S>) -> Held {
    duties::peek_is_free(strategy, &Awaited { strategy, storage }).await
}

/// Law 2: checks of one key that are on their way at the same time admit exactly the limit. One that fails with
/// [`ErrorKind::Contended`] must not have been charged.
///
/// All are awaited by one task; run it from several to have them on several threads.
pub async fn racers_admit_the_limit<S: Strategy>(strategy: &S, storage: &impl AsyncStorage<S>) -> Held {
    const KEY: &[u8] = b"traffik law 2: raced for";
    /// That come too late for certain.
    const TOO_MANY: usize = 16;
    let subject = Awaited { strategy, storage };
    let admits = afresh(strategy, &subject, KEY).await?;
    let check = |_| storage.apply(strategy, &KEY, &Op::Check(one::<S>()));
    let mut racing: Vec<_> = (0..admits + TOO_MANY).map(check).collect();
    let (mut admitted, mut failed) = (0, None);
    poll_fn(|context| {
        racing.retain_mut(|reply| match Pin::new(reply).poll(context) {
            Poll::Pending => true,
            Poll::Ready(answer) => {
                match answer {
                    Ok(verdict) => admitted += usize::from(verdict.outcome().is_allowed()),
                    Err(failure) if failure.kind() == ErrorKind::Contended => {}
                    Err(failure) => failed = Some(failure),
                }
                false
            }
        });
        if racing.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    failed.map_or(Ok(()), |failure| Err(NotHeld::Failed(failure)))?;
    let all = admitted + drain(&subject, KEY).await?;
    Ok(expect(all == admits, 2, all, "checks at the same time did not admit exactly the limit")?)
}

/// Law 10: bytes that are no state count as a key never seen, and are written over. `plant` puts them where the storage
/// keeps the state of a key: it is given the key, and the bytes.
pub async fn corrupt_is_never_seen<S: Strategy>(
    strategy: &S,
    storage: &impl AsyncStorage<S>,
    plant: impl AsyncFnMut(&[u8], &[u8]),
) -> Held {
    duties::corrupt_is_never_seen(strategy, &Awaited { strategy, storage }, plant).await
}

/// A storage that is asked and awaited.
struct Awaited<'a, S, M> {
    strategy: &'a S,
    storage: &'a M,
}

impl<S: Strategy, M: AsyncStorage<S>> Subject<S> for Awaited<'_, S, M> {
    type Error = NotHeld;

    async fn apply(&self, key: &[u8], op: Op<S>) -> Result<S::Verdict, NotHeld> {
        Ok(self.storage.apply(self.strategy, &key, &op).await?)
    }

    async fn load(&self, key: &[u8]) -> Result<(S::State, Timestamp), NotHeld> {
        Ok(self.storage.load(self.strategy, &key).await?)
    }
}

/// What a storage told right before and right after an operation.
struct Seen<S: Strategy> {
    before: S::State,
    earliest: Timestamp,
    after: S::State,
    latest: Timestamp,
}

impl<S: Strategy> Seen<S> {
    /// Whether the pure function gives this answer and this state at some time in between.
    ///
    /// Every answer tells its time in some way, so few times have to be tried: a charge by its receipt, a denial by
    /// its wait, and whatever is not fresh by when it will be, for these are exact.
    fn agrees(&self, strategy: &S, op: &Op<S>, verdict: &S::Verdict) -> bool {
        let expires_at = strategy.expires_at(&self.after, op.class());
        let mut agrees = self.agrees_at(strategy, op, verdict, self.earliest)
            || self.agrees_at(strategy, op, verdict, self.latest)
            || self.agrees_at(strategy, op, verdict, earlier(expires_at, reset_after(verdict)));
        verdict.receipt().for_each(&mut |receipt| {
            agrees = agrees || self.agrees_at(strategy, op, verdict, receipt.at());
        });
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
        let (told, written) = op.apply(strategy, &mut state, now);
        let state = if written { &state } else { &self.before };
        let is_fresh = strategy.expires_at(state, op.class()) <= self.latest;
        let kept = *state == self.after
            || (is_fresh && self.after == S::State::default())
            || alike(strategy, op.class(), [state, &self.after], self.latest);
        let in_between = self.earliest.min(self.latest) <= now && now <= self.latest.max(self.earliest);
        in_between && kept && told == *verdict
    }
}

/// Whether two states cannot be told from each other: a store need not keep what makes no difference, such as when in its
/// window the last hit was.
fn alike<S: Strategy>(strategy: &S, class: Class, states: [&S::State; 2], now: Timestamp) -> bool {
    let told = states.map(|state| {
        let peek = |cost| strategy.peek(state, &Hit::new(S::Cost::uniform(cost)).with_class(class), now);
        (strategy.expires_at(state, class), [0, 1, 2].map(peek))
    });
    let [one, other] = &told;
    one == other
}

fn reset_after(verdict: &impl Verdict) -> Duration {
    let mut longest = Duration::ZERO;
    verdict.for_each(&mut |it: &Decision| longest = longest.max(it.reset_after()));
    longest
}

/// A time so much earlier than another, which is told in whole microseconds.
fn earlier(then: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    Timestamp::from_micros(then.as_micros().saturating_sub(by))
}

//! The duties of a storage, as a checklist for one that answers at once.
//!
//! Each function checks one duty. They use keys of their own, which they reset first, and assume that time
//! stands still while they run. Choose a limit that admits from 2 to 1000 hits at once and hardly any more in
//! the next minute, such as 5 per hour. Only [`agrees`] needs runs of all kinds.
//!
//! ```
//! use traffik::laws::{self, storage};
//! use traffik::{Fixed, ManualClock, Rate, TokenBucket};
//!
//! let strategy = TokenBucket::new(Rate::per_hour(5));
//! let mine = Fixed::<TokenBucket, _, 64>::new(ManualClock::default(), 42);
//! storage::every(&strategy, &mine)?;
//! # Ok::<(), laws::BrokenLaw>(())
//! ```
//!
//! | duty | function | what you give |
//! |---|---|---|
//! | agrees with the pure function | [`agrees`] | a run |
//! | a denial writes nothing | [`denial_writes_nothing`] | how often the store was written to |
//! | keys are separate, whatever their names | [`keys_are_apart`] | |
//! | a refund takes back what its receipt says | [`refund_takes_back`] | |
//! | a reset starts a key fresh | [`reset_starts_afresh`] | |
//! | a peek charges nothing | [`peek_is_free`] | |
//! | a load returns the state | [`load_returns_the_state`] | |
//! | racers for one key admit exactly the limit | [`racers_admit_the_limit`] | threads |
//! | a clock that was set back locks no key out | [`clock_may_be_set_back`] | how to set the clock |
//! | bytes that are no state count as a key never seen | [`corrupt_is_never_seen`] | how to write them |

use core::cell::Cell;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use super::duties::{self, TestedStorage, afresh, one};
use super::{BrokenLaw, LawResult, Step, expect};
use crate::{Op, Storage, StorageError, Strategy, Timestamp};

#[cfg(target_has_atomic = "ptr")]
mod race;

#[cfg(target_has_atomic = "ptr")]
pub use race::racers_admit_the_limit;

/// Checks every duty that needs only a strategy and a storage.
///
/// The others need something of yours: [`agrees`], [`denial_writes_nothing`], [`racers_admit_the_limit`],
/// [`corrupt_is_never_seen`], [`clock_may_be_set_back`].
///
/// # Errors
///
/// Fails with the first broken law; a failure of the storage counts as one.
pub fn every<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> LawResult {
    keys_are_apart(strategy, storage)?;
    refund_takes_back(strategy, storage)?;
    reset_starts_afresh(strategy, storage)?;
    peek_is_free(strategy, storage)?;
    load_returns_the_state(strategy, storage)?;
    denial_writes_nothing(strategy, storage, || 0)
}

/// Law 11: over any run, a storage answers as the pure function does.
///
/// Times must not step back, since a storage may forget a state from the future at any time. The key must be
/// one never seen.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn agrees<S: Strategy>(strategy: &S, storage: &impl Storage<S>, key: &str, run: &[Step]) -> LawResult {
    let direct = SyncSubject::new(strategy, storage);
    at_once(duties::agrees(strategy, &direct, key.as_bytes(), run, |now| direct.now.set(now)))
}

/// Law 4: a denial changes nothing that is stored, and writes nothing.
///
/// `writes` returns how often the store has been written to so far, or a constant if that cannot be known.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn denial_writes_nothing<S: Strategy>(
    strategy: &S,
    storage: &impl Storage<S>,
    mut writes: impl FnMut() -> u64,
) -> LawResult {
    at_once(duties::denial_writes_nothing(strategy, &SyncSubject::new(strategy, storage), async || writes()))
}

/// Law 11: an operation on one key does not change another, whatever their names.
///
/// The names are empty, or hold spaces, line ends, zero bytes, other bytes than text, up to 301 bytes, or the
/// beginning of another name. The storage needs room for 27 keys.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn keys_are_apart<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> LawResult {
    at_once(duties::keys_are_apart(strategy, &SyncSubject::new(strategy, storage)))
}

/// Law 9: a refunded check leaves no trace, and a refund for a key that was reset meanwhile frees nothing.
///
/// Passes for a queue, whose places are used up as their turns come; [`agrees`] checks its refunds.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn refund_takes_back<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> LawResult {
    at_once(duties::refund_takes_back(strategy, &SyncSubject::new(strategy, storage)))
}

/// Law 11: a key that was reset is as one never seen.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn reset_starts_afresh<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> LawResult {
    at_once(duties::reset_starts_afresh(strategy, &SyncSubject::new(strategy, storage)))
}

/// Law 1: a peek returns what a check would, and charges nothing.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn peek_is_free<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> LawResult {
    at_once(duties::peek_is_free(strategy, &SyncSubject::new(strategy, storage)))
}

/// Law 11: a load returns the state that the pure function is in.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn load_returns_the_state<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> LawResult {
    const KEY: &[u8] = b"traffik law 11: loaded";
    let direct = SyncSubject::new(strategy, storage);
    let (now, mut state) = (direct.now.get(), S::State::default());
    // The pure function decides beside the storage, at the same time that stands still.
    for step in 0..at_once(afresh(strategy, &direct, KEY))? {
        let _ = strategy.decide(&mut state, &one::<S>(), now);
        let _ = at_once(direct.apply(KEY, Op::Check(one::<S>())))?;
        let (loaded, _) = at_once(direct.load(KEY))?;
        expect(loaded == state, 11, step, "the loaded state is not that of the key")?;
    }
    Ok(())
}

/// Law 7: a used-up key is admitted again within [`max_ttl`](Strategy::max_ttl) of a clock that was set far
/// back.
///
/// For a storage that only one clock writes to. Where several clocks write, a state ahead of one clock may be
/// right by another. `set` sets the clock.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn clock_may_be_set_back<S: Strategy>(
    strategy: &S,
    storage: &impl Storage<S>,
    set: impl Fn(Timestamp),
) -> LawResult {
    let direct = SyncSubject::new(strategy, storage);
    // Both, since a storage may rebase by its own clock or by the time that a call names.
    let set = |now| {
        set(now);
        direct.now.set(now);
    };
    at_once(duties::clock_may_be_set_back(strategy, &direct, set))
}

/// Law 10: bytes that are no state count as a key never seen, and are overwritten.
///
/// `plant` gets a key and bytes, and writes the bytes where the storage keeps the state of the key.
///
/// # Errors
///
/// Fails if this law is broken, or if the storage fails.
pub fn corrupt_is_never_seen<S: Strategy>(
    strategy: &S,
    storage: &impl Storage<S>,
    mut plant: impl FnMut(&[u8], &[u8]),
) -> LawResult {
    let direct = SyncSubject::new(strategy, storage);
    at_once(duties::corrupt_is_never_seen(strategy, &direct, async |key, bytes| plant(key, bytes)))
}

/// A storage that answers at once, at a time that stands still until it is moved.
struct SyncSubject<'a, S, M> {
    strategy: &'a S,
    storage: &'a M,
    // The storage's own clock may go on, and a duty must not depend on how long it takes.
    now: Cell<Timestamp>,
}

impl<'a, S: Strategy, M: Storage<S>> SyncSubject<'a, S, M> {
    fn new(strategy: &'a S, storage: &'a M) -> Self {
        Self { strategy, storage, now: Cell::new(storage.now()) }
    }
}

impl<S: Strategy, M: Storage<S>> TestedStorage<S> for SyncSubject<'_, S, M> {
    type Error = BrokenLaw;

    async fn apply(&self, key: &[u8], op: Op<S>) -> Result<S::Verdict, BrokenLaw> {
        self.storage.apply(self.strategy, key, &op, self.now.get()).map_err(failed)
    }

    async fn load(&self, key: &[u8]) -> Result<(S::State, Timestamp), BrokenLaw> {
        // A load names no time, so it counts as of the time of the duty.
        Ok((self.storage.load(key).map_err(failed)?, self.now.get()))
    }
}

fn failed(error: StorageError) -> BrokenLaw {
    BrokenLaw { law: 11, step: 0, what: error.message() }
}

/// Returns the output of a future that is ready at once, as all futures of a [`SyncSubject`] are.
fn at_once<T>(future: impl Future<Output = Result<T, BrokenLaw>>) -> Result<T, BrokenLaw> {
    // No waker is needed, since the future does not wait for anything.
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => {
            Err(BrokenLaw { law: 11, step: 0, what: "the storage waits, but must answer at once" })
        }
    }
}

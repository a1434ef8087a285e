//! What every storage owes, as a checklist for one that answers at once.
//!
//! Each function is one duty. They use keys of their own, which they reset first, and take time to stand
//! still while they run. Give them a limit that admits from 2 to 1000 hits at once and hardly any more in the
//! next minute, such as 5 per hour; only [`agrees`] wants runs of all kinds.
//!
//! ```
//! use traffik::laws::{self, storage};
//! use traffik::{Fixed, ManualClock, Rate, TokenBucket};
//!
//! let limit = TokenBucket::new(Rate::per_hour(5));
//! let mine = Fixed::<TokenBucket, _, 64>::new(ManualClock::default(), 42);
//! storage::every(&limit, &mine)?;
//! # Ok::<(), laws::Broken>(())
//! ```
//!
//! | duty | function | what you give |
//! |---|---|---|
//! | agrees with the pure function | [`agrees`] | a run |
//! | a denial writes nothing | [`denial_writes_nothing`] | how often the store was written to |
//! | keys are apart, whatever their names | [`keys_are_apart`] | |
//! | a refund takes back what its receipt says | [`refund_takes_back`] | |
//! | a reset starts a key afresh | [`reset_starts_afresh`] | |
//! | a peek charges nothing | [`peek_is_free`] | |
//! | a load tells the state | [`load_tells_the_state`] | |
//! | racers for one key admit exactly the limit | [`racers_admit_the_limit`] | threads |
//! | a clock that was set back locks no key out | [`clock_may_be_set_back`] | |
//! | bytes that are no state count as a key never seen | [`corrupt_is_never_seen`] | how to write such bytes |

use core::cell::Cell;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use super::duties::{self, Subject, afresh, drain, one};
use super::{Broken, Held, Step, expect};
use crate::{Op, Outcome, Storage, StorageError, Strategy, Timestamp, Verdict};

#[cfg(target_has_atomic = "ptr")]
mod race;

#[cfg(target_has_atomic = "ptr")]
pub use race::racers_admit_the_limit;

/// Every duty that needs nothing but a limit and a storage.
pub fn every<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> Held {
    keys_are_apart(strategy, storage)?;
    refund_takes_back(strategy, storage)?;
    reset_starts_afresh(strategy, storage)?;
    peek_is_free(strategy, storage)?;
    load_tells_the_state(strategy, storage)?;
    denial_writes_nothing(strategy, storage, || 0)
}

/// Law 11: over any run, a storage answers what the pure function does. Times must not step back: how long a
/// storage remembers a stamp from the future is its own business. The key must be one never seen.
pub fn agrees<S: Strategy>(strategy: &S, storage: &impl Storage<S>, key: &str, run: &[Step]) -> Held {
    let direct = Direct::new(strategy, storage);
    at_once(duties::agrees(strategy, &direct, key.as_bytes(), run, |now| direct.now.set(now)))
}

/// Law 4: a denial changes nothing that is stored, and writes nothing: `writes` tells how often the store has
/// been written to so far, or always the same if that cannot be known.
pub fn denial_writes_nothing<S: Strategy>(
    strategy: &S,
    storage: &impl Storage<S>,
    mut writes: impl FnMut() -> u64,
) -> Held {
    at_once(duties::denial_writes_nothing(strategy, &Direct::new(strategy, storage), async || writes()))
}

/// Law 11: what is done to one key is not done to another, whatever their names: empty ones, spaces, line
/// ends, zero bytes, no text at all, 300 bytes, the beginning of another.
///
/// Needs room for 27 keys.
pub fn keys_are_apart<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> Held {
    at_once(duties::keys_are_apart(strategy, &Direct::new(strategy, storage)))
}

/// Law 9: a check that is taken back by its receipt leaves no trace, and one that was forgotten meanwhile
/// frees nothing. Nothing is asked of a queue, whose places are used up as their turn comes; what can be
/// taken back of it is in [`agrees`].
pub fn refund_takes_back<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> Held {
    at_once(duties::refund_takes_back(strategy, &Direct::new(strategy, storage)))
}

/// Law 11: a key that was reset is a key never seen.
pub fn reset_starts_afresh<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> Held {
    at_once(duties::reset_starts_afresh(strategy, &Direct::new(strategy, storage)))
}

/// Law 1: a peek tells what a check would, and charges nothing.
pub fn peek_is_free<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> Held {
    at_once(duties::peek_is_free(strategy, &Direct::new(strategy, storage)))
}

/// Law 11: what is loaded is the state that the pure function is in.
pub fn load_tells_the_state<S: Strategy>(strategy: &S, storage: &impl Storage<S>) -> Held {
    const KEY: &[u8] = b"traffik law 11: loaded";
    let direct = Direct::new(strategy, storage);
    let (now, mut state) = (direct.now.get(), S::State::default());
    for step in 0..at_once(afresh(strategy, &direct, KEY))? {
        let _ = strategy.decide(&mut state, &one::<S>(), now);
        let _ = at_once(direct.apply(KEY, Op::Check(one::<S>())))?;
        let (loaded, _) = at_once(direct.load(KEY))?;
        expect(loaded == state, 11, step, "what was loaded is not the state of the key")?;
    }
    Ok(())
}

/// Law 7: a key that is used up when the clock is set back far is admitted again within the limit's horizon.
///
/// For a storage whose clock is nobody else's: where several clocks meet, the one behind must not be
/// believed. `set` sets it.
pub fn clock_may_be_set_back<S: Strategy>(
    strategy: &S,
    storage: &impl Storage<S>,
    set: impl Fn(Timestamp),
) -> Held {
    const KEY: &[u8] = b"traffik law 7: set back";
    /// More than a storage may count as one reader that came late.
    const FAR: u64 = 60_000_000;
    let direct = Direct::new(strategy, storage);
    let (mut now, max_ttl) = (direct.now.get(), strategy.max_ttl());
    for (step, back) in [FAR, 86_400_000_000].into_iter().enumerate() {
        let admits = at_once(afresh(strategy, &direct, KEY))?;
        let drained = at_once(drain(&direct, KEY))?;
        expect(drained == admits, 2, step, "the storage did not admit exactly the limit")?;
        now = Timestamp::from_micros(now.as_micros().saturating_sub(max_ttl.saturating_add(back)));
        let then = now;
        loop {
            set(now);
            direct.now.set(now);
            let verdict = at_once(direct.apply(KEY, Op::Check(one::<S>())))?;
            match verdict.outcome() {
                Outcome::Deny { retry_after } => now = now + retry_after,
                Outcome::Never => expect(false, 7, step, "the storage never admits a key again")?,
                Outcome::Allow { .. } => break,
            }
            let lasts = now.micros_since(then);
            expect(lasts <= max_ttl, 7, step, "a key was denied for longer than its limit lasts")?;
        }
    }
    Ok(())
}

/// Law 10: bytes that are no state count as a key never seen, and are written over. `plant` puts them where
/// the storage keeps the state of a key: it is given the key, and the bytes.
pub fn corrupt_is_never_seen<S: Strategy>(
    strategy: &S,
    storage: &impl Storage<S>,
    mut plant: impl FnMut(&[u8], &[u8]),
) -> Held {
    let direct = Direct::new(strategy, storage);
    at_once(duties::corrupt_is_never_seen(strategy, &direct, async |key, bytes| plant(key, bytes)))
}

/// A storage at a time that stands still until it is moved.
struct Direct<'a, S, M> {
    strategy: &'a S,
    storage: &'a M,
    now: Cell<Timestamp>,
}

impl<'a, S: Strategy, M: Storage<S>> Direct<'a, S, M> {
    fn new(strategy: &'a S, storage: &'a M) -> Self {
        Self { strategy, storage, now: Cell::new(storage.now()) }
    }
}

impl<S: Strategy, M: Storage<S>> Subject<S> for Direct<'_, S, M> {
    type Error = Broken;

    async fn apply(&self, key: &[u8], op: Op<S>) -> Result<S::Verdict, Broken> {
        self.storage.apply(self.strategy, key, &op, self.now.get()).map_err(failed)
    }

    async fn load(&self, key: &[u8]) -> Result<(S::State, Timestamp), Broken> {
        Ok((self.storage.load(key).map_err(failed)?, self.now.get()))
    }
}

fn failed(error: StorageError) -> Broken {
    Broken { law: 11, step: 0, what: error.message() }
}

/// What is there at once, as everything is that a [`Direct`] storage is asked.
fn at_once<T>(future: impl Future<Output = Result<T, Broken>>) -> Result<T, Broken> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => Err(Broken { law: 11, step: 0, what: "the storage did not answer at once" }),
    }
}

//! Storages, which keep the states: their interface, and those for firmware.
//!
//! [`Fixed`] keeps a fixed number of keys and [`OneKey`] a single one, both without a heap. `Memory`,
//! `RedisStorage` and `MemcachedStorage` come with the crate `traffik`.

use core::array;
use core::ops::Range;

use crate::{Hit, Key, Op, Strategy, Timestamp, Verdict};

mod access;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod backend_error;
mod delay_line;
mod error;
mod fixed;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod future;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod local;
mod multi_key;
mod one_key;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod reply;
mod restored_offset;
mod saved;
#[cfg(feature = "critical-section")]
mod shared;
mod slot_tag;
mod table;
mod ticket;
mod wait_queue;
#[cfg(feature = "critical-section")]
mod waiting;

#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use backend_error::BackendError;
pub(crate) use error::Answer;
pub use error::{ErrorKind, StorageError};
pub use fixed::Fixed;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use future::{AsyncStorage, DynStorage};
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use local::Local;
use multi_key::all_verdicts;
pub use one_key::OneKey;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use reply::{BoxFuture, MultiKeyReply, Reply};
#[cfg(feature = "critical-section")]
pub use shared::Shared;
pub use table::WhenFull;

// Types of signatures that users do not name.
#[doc(hidden)]
pub use {
    access::{Access, SingleThread},
    delay_line::{DelayLine, DelayTurn, ReturningTurn},
    multi_key::{MultiKeyVerdict, Tables, check_together},
    slot_tag::{NarrowTag, SlotTag, WideTag},
    table::{Counters, Slot, Table, home},
    ticket::Ticket,
    wait_queue::WaitQueue,
};

/// Returns the time as of which a storage of this process decides on a hit that was due at `due.start`.
///
/// It is `max(due.start, now - leeway)`, and `now` at most, with `leeway = due.end - due.start`.
pub(crate) fn as_of(due: &Range<Timestamp>, now: Timestamp) -> Timestamp {
    // leeway = end - start; at = min(max(start, now - leeway), now).
    let leeway = due.end.micros_since(due.start);
    due.start.max(Timestamp::from_micros(now.as_micros().saturating_sub(leeway))).min(now)
}

/// A storage of this process: keeps a state per key and runs operations on it.
///
/// Implement it to keep states in a place of your own; [`AsyncStorage`] is the interface for one that has to
/// be awaited. Run [`laws::storage`](crate::laws::storage) (feature `laws`) over it in a test.
///
/// * An operation MUST be one atomic step for its key.
/// * A state MUST NOT be dropped before [`Strategy::expires_at`], unless the storage documents and counts it.
/// * A denial MUST NOT write, unless its verdict is [dirty](Verdict::is_dirty) or its state was rebased.
/// * Before it decides, an operation MUST [rebase](Strategy::rebase) the state, if all writers read one clock
///   that can be set back: keys would be locked out until the clock has caught up. The rebased state MUST be
///   written even if the check is denied, or the wait would begin anew each time.
/// * A storage MUST tell keys apart at least as well as a keyed 64-bit hash does, or else document the odds.
///
/// The storage owns the clock, since states hold times.
///
/// ```
/// use core::cell::RefCell;
/// use traffik::{Clock, Gcra, Key, Limiter, ManualClock, Op, Storage, rate};
/// use traffik::{StorageError, Strategy, Timestamp};
///
/// /// A storage for one user: the whole program is one key.
/// struct Own<S: Strategy>(RefCell<S::State>, ManualClock);
///
/// impl<S: Strategy> Storage<S> for Own<S> {
///     fn now(&self) -> Timestamp {
///         self.1.now()
///     }
///
///     fn apply<K: Key + ?Sized>(
///         &self,
///         strategy: &S,
///         _: &K,
///         op: &Op<S>,
///         now: Timestamp,
///     ) -> Result<S::Verdict, StorageError> {
///         let state = &mut *self.0.borrow_mut();
///         let _ = strategy.rebase(state, now); // the clock may have been set back
///         Ok(op.run(strategy, state, now)) // the state is changed in its place, so nothing is left to write
///     }
///
///     fn load<K: Key + ?Sized>(&self, _: &K) -> Result<S::State, StorageError> {
///         Ok(self.0.borrow().clone())
///     }
/// }
///
/// let limiter = Limiter::new(Gcra::new(rate!("1/s")), Own(Default::default(), ManualClock::default()));
/// assert!(limiter.check(&())?.is_allowed());
/// assert!(!limiter.check(&())?.is_allowed());
/// # Ok::<(), StorageError>(())
/// ```
pub trait Storage<S: Strategy> {
    /// Reads the clock of this storage.
    fn now(&self) -> Timestamp;

    /// Applies an operation to the state of a key, at this time.
    ///
    /// Limiters call it for `check_at`, and for a waiter as of its turn. The defaults of
    /// [`check_many`](Self::check_many) and [`check_together`](Self::check_together) call it at one time for
    /// all keys.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer, with the [`ErrorKind`] that says why.
    fn apply<K: Key + ?Sized>(&self, strategy: &S, key: &K, op: &Op<S>, now: Timestamp) -> Answer<S>;

    /// Applies an operation to the state of a key, at the present time of this storage's clock.
    ///
    /// Limiters call it to check, peek at, charge, refund or reset one key. Defaults to [`now`](Self::now),
    /// then [`apply`](Self::apply). Override it to read the clock within the atomic step if others write too:
    /// a reading from before a wait for a lock is late.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer, with the [`ErrorKind`] that says why.
    #[inline]
    fn apply_now<K: Key + ?Sized>(&self, strategy: &S, key: &K, op: &Op<S>) -> Answer<S> {
        self.apply(strategy, key, op, self.now())
    }

    /// Returns a copy of the state of a key; a fresh one for a key never seen.
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer, with the [`ErrorKind`] that says why.
    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError>;

    /// Checks a hit on each of several keys, and calls `answer` with each verdict.
    ///
    /// The keys are decided in order, so a key that is named twice sees what it was charged the first time. A
    /// storage may look several keys up at once. Defaults to one [`apply`](Self::apply) after another.
    fn check_many<K: Key>(
        &self,
        strategy: &S,
        keys: &[K],
        hit: &Hit<S::Cost>,
        now: Timestamp,
        mut answer: impl FnMut(&K, Answer<S>),
    ) {
        for key in keys {
            answer(key, self.apply(strategy, key, &Op::Check(*hit), now));
        }
    }

    /// Checks one hit on several keys: charges all of them, or none.
    ///
    /// Defaults to one check after another, with a refund of the charged keys if a later one denies. Others
    /// may then see a key charged for a moment. A storage that can decide in one step overrides this, and
    /// returns a [`MultiKeyVerdict::new`].
    ///
    /// # Errors
    ///
    /// Fails if the storage cannot answer, with the [`ErrorKind`] that says why. The default has then
    /// refunded the charged keys, unless a refund failed too.
    fn check_together<K: Key + ?Sized, const N: usize>(
        &self,
        strategy: &S,
        keys: [&K; N],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
        check_in_turn(self, strategy, keys, hit, now)
    }

    /// Returns the queue of the [waiters](crate::Limiter::until_ready) for each key, the same one on every
    /// call.
    ///
    /// Defaults to `None`: waiters are served in no order.
    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        None
    }
}

/// Checks one hit on several keys, one after another; if one denies, refunds those charged before.
fn check_in_turn<S: Strategy, K: Key + ?Sized, const N: usize>(
    storage: &(impl Storage<S> + ?Sized),
    strategy: &S,
    keys: [&K; N],
    hit: &Hit<S::Cost>,
    now: Timestamp,
) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
    let mut verdicts: [Option<S::Verdict>; N] = array::from_fn(|_| None);
    let mut op = Op::Check(*hit);
    for (at, key) in keys.into_iter().enumerate() {
        let answer = storage.apply(strategy, key, &op, now);
        // A failure counts as a denial: those charged before are refunded, and the failure is returned below.
        let admitted = answer.as_ref().is_ok_and(|verdict| verdict.outcome().is_allowed());
        if !admitted && matches!(op, Op::Check(_)) {
            // The rest is only peeked at, so that every key has a verdict.
            op = Op::Peek(*hit);
            // In reverse: of a queueing strategy only the last place can be refunded.
            for (key, verdict) in keys.into_iter().zip(&verdicts).rev() {
                let Some(verdict) = verdict else { continue };
                storage.apply(strategy, key, &Op::Refund(*hit, verdict.receipt()), now)?;
            }
        }
        // Invariant: `verdicts[..=at]` holds a verdict of each key so far, and those that admit are charged.
        if let Some(verdict) = verdicts.get_mut(at) {
            *verdict = Some(answer?);
        }
    }
    // Not atomic: others may have seen the charges that were then refunded.
    Ok(MultiKeyVerdict::in_turn(all_verdicts(verdicts, strategy, hit, now).verdicts))
}

/// Implements `Storage` for a pointer to one.
macro_rules! storage_behind {
    ($pointer:ty) => {
        // Forwards every method: a default one would undo what the storage overrides.
        #[deny(clippy::missing_trait_methods)]
        impl<S: $crate::Strategy, T: Storage<S> + ?Sized> Storage<S> for $pointer {
            fn now(&self) -> Timestamp {
                (**self).now()
            }

            fn apply<K: Key + ?Sized>(&self, strategy: &S, key: &K, op: &Op<S>, now: Timestamp) -> Answer<S> {
                (**self).apply(strategy, key, op, now)
            }

            fn apply_now<K: Key + ?Sized>(&self, strategy: &S, key: &K, op: &Op<S>) -> Answer<S> {
                (**self).apply_now(strategy, key, op)
            }

            fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
                (**self).load(key)
            }

            fn check_many<K: Key>(
                &self,
                strategy: &S,
                keys: &[K],
                hit: &Hit<S::Cost>,
                now: Timestamp,
                answer: impl FnMut(&K, Answer<S>),
            ) {
                (**self).check_many(strategy, keys, hit, now, answer);
            }

            fn check_together<K: Key + ?Sized, const N: usize>(
                &self,
                strategy: &S,
                keys: [&K; N],
                hit: &Hit<S::Cost>,
                now: Timestamp,
            ) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
                (**self).check_together(strategy, keys, hit, now)
            }

            fn wait_queue(&self) -> Option<&dyn $crate::storage::WaitQueue> {
                (**self).wait_queue()
            }
        }
    };
}
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
use storage_behind;

storage_behind!(&T);

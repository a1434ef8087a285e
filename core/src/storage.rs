//! Where states are kept, and what it means to run an operation on one.

use core::array;
use core::ops::Range;

use crate::{Hit, Key, Op, Strategy, Timestamp, Verdict};

mod access;
mod error;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod failure;
mod fixed;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
mod future;
mod line;
mod one_key;
mod restored_offset;
mod saved;
#[cfg(feature = "critical-section")]
mod shared;
mod slot_tag;
mod table;
mod ticket;
mod together;
mod wait_queue;
#[cfg(feature = "critical-section")]
mod waiting;

pub(crate) use error::Answer;
pub use error::{ErrorKind, StorageError};
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use failure::BackendError;
pub use fixed::Fixed;
#[cfg(all(feature = "alloc", target_has_atomic = "ptr"))]
pub use future::{AsyncStorage, BoxFuture, DynStorage, Local, MultiKeyReply, Reply};
pub use one_key::OneKey;
#[cfg(feature = "critical-section")]
pub use shared::Shared;
pub use table::WhenFull;
use together::one_each;

// What stands in signatures, and nobody has to name.
#[doc(hidden)]
pub use {
    access::{Access, SingleThread},
    line::{DelayLine, DelayTurn, ReturningTurn},
    slot_tag::{NarrowTag, SlotTag, WideTag},
    table::{Counters, Slot, Table, home},
    ticket::Ticket,
    together::{MultiKeyVerdict, Tables, check_together},
    wait_queue::WaitQueue,
};

/// The time as of which a storage of this process decides now on what was due at the start of a time: then,
/// or earlier than now by as much as that time lasts.
pub(crate) fn as_of(due: &Range<Timestamp>, now: Timestamp) -> Timestamp {
    let leeway = due.end.micros_since(due.start);
    due.start.max(Timestamp::from_micros(now.as_micros().saturating_sub(leeway))).min(now)
}

/// Keeps a state per key in this process and runs operations on it.
///
/// * An operation MUST be one atomic step for its key.
/// * A state MUST NOT be dropped before [`Strategy::expires_at`], unless the storage says so and counts it.
/// * A denial MUST NOT write.
/// * A key MUST be told apart from others at least as well as by a keyed 64-bit hash, or else the storage MUST
///   state the odds.
///
/// The storage owns the clock, since states hold times.
pub trait Storage<S: Strategy> {
    /// The present, by the clock of this storage.
    fn now(&self) -> Timestamp;

    /// Applies an operation to the state of a key, at this time.
    fn apply<K: Key + ?Sized>(&self, strategy: &S, key: &K, op: &Op<S>, now: Timestamp) -> Answer<S>;

    /// Applies an operation to the state of a key, at the present.
    #[inline]
    fn apply_now<K: Key + ?Sized>(&self, strategy: &S, key: &K, op: &Op<S>) -> Answer<S> {
        self.apply(strategy, key, op, self.now())
    }

    /// A copy of the state of a key.
    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError>;

    /// Checks a hit on each of several keys, one after another, and answers each: a key named twice sees what it
    /// was charged the first time. A storage may look several keys up at once.
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

    /// Checks one hit on several keys: all are charged, or none.
    ///
    /// As it is given here others may see a key charged that is not in the end: what is refunded once another one
    /// denies. A storage that can do it in one step does.
    fn check_together<K: Key + ?Sized, const N: usize>(
        &self,
        strategy: &S,
        keys: [&K; N],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
        check_in_turn(self, strategy, keys, hit, now)
    }

    /// Returns the queue of those who [wait](crate::Limiter::until_ready) for a key, the same one every time.
    /// Defaults to `None`: they wait in no order.
    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        None
    }
}

/// Checks one hit on several keys, one after another; if one denies, those charged before are refunded.
fn check_in_turn<S: Strategy, K: Key + ?Sized, const N: usize>(
    storage: &(impl Storage<S> + ?Sized),
    strategy: &S,
    keys: [&K; N],
    hit: &Hit<S::Cost>,
    now: Timestamp,
) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError> {
    let mut asked: [Option<S::Verdict>; N] = array::from_fn(|_| None);
    let mut op = Op::Check(*hit);
    for (at, key) in keys.into_iter().enumerate() {
        let answer = storage.apply(strategy, key, &op, now);
        let admitted = answer.as_ref().is_ok_and(|verdict| verdict.outcome().is_allowed());
        if !admitted && matches!(op, Op::Check(_)) {
            op = Op::Peek(*hit);
            // The last one first: of a queue only the last place can be given back.
            for (key, verdict) in keys.into_iter().zip(&asked).rev() {
                let Some(verdict) = verdict else { continue };
                storage.apply(strategy, key, &Op::Refund(*hit, verdict.receipt()), now)?;
            }
        }
        if let Some(verdict) = asked.get_mut(at) {
            *verdict = Some(answer?);
        }
    }
    Ok(MultiKeyVerdict::in_turn(one_each(asked, strategy, hit, now).verdicts))
}

/// A storage behind a pointer is one.
macro_rules! storage_behind {
    ($pointer:ty) => {
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

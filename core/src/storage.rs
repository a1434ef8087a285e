//! Where states are kept, and what it means to run an operation on one.

use core::fmt;

use crate::{Hit, Key, Op, Strategy, Timestamp};

mod fixed;
#[cfg(feature = "alloc")]
mod future;
mod head;
mod lines;
mod table;
mod together;

pub use fixed::Fixed;
#[cfg(feature = "alloc")]
pub use future::{AsyncStorage, BoxFuture, Failure, Joint, Local, Reply};
pub use head::{Head, Narrow, Wide};
pub use lines::{Ahead, Foreseen, Lines, Place, Waiter};
pub use table::{Counters, Slot, Table, WhenFull, home};
use together::check_in_turn;
pub use together::{Tables, Together, check_together};

/// Keeps a state per key in this process and runs operations on it.
///
/// * An operation MUST be one atomic step for its key.
/// * A state MUST NOT be dropped before [`Strategy::fresh_at`], unless the storage says so and counts it.
/// * A denial MUST NOT write.
/// * A key MUST be told apart from others at least as well as by a keyed 64-bit hash, or else the storage MUST
///   state the odds.
///
/// The storage owns the clock, since states hold times.
pub trait Storage<S: Strategy> {
    /// The present, by the clock of this storage.
    fn now(&self) -> Timestamp;

    /// Applies an operation to the state of a key, at this time.
    fn apply<K: Key + ?Sized>(
        &self,
        limit: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError>;

    /// Applies an operation to the state of a key, at the present.
    #[inline]
    fn apply_now<K: Key + ?Sized>(&self, limit: &S, key: &K, op: &Op<S>) -> Result<S::Verdict, StorageError> {
        self.apply(limit, key, op, self.now())
    }

    /// A copy of the state of a key.
    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError>;

    /// Checks a hit on each of several keys, one after another, and answers each: a key named twice sees what it
    /// was charged the first time. A storage may look several keys up at once.
    fn check_many<K: Key>(
        &self,
        limit: &S,
        keys: &[K],
        hit: &Hit<S::Cost>,
        now: Timestamp,
        mut answer: impl FnMut(&K, Result<S::Verdict, StorageError>),
    ) {
        for key in keys {
            answer(key, self.apply(limit, key, &Op::Check(*hit), now));
        }
    }

    /// Checks one hit on several keys: all are charged, or none.
    ///
    /// As it is given here others may see a key charged that is not in the end: what is refunded once another one
    /// denies. A storage that can do it in one step does.
    fn check_together<K: Key + ?Sized, const N: usize>(
        &self,
        limit: &S,
        keys: [&K; N],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<Together<S::Verdict, N>, StorageError> {
        check_in_turn(self, limit, keys, hit, now)
    }

    /// Where those who [wait](crate::Limiter::until_ready) for a key stand in line; nowhere, if nothing is said.
    fn lines(&self) -> Option<&dyn Lines> {
        None
    }
}

/// A storage behind a pointer is one.
macro_rules! storage_behind {
    ($pointer:ty) => {
        impl<S: $crate::Strategy, T: Storage<S> + ?Sized> Storage<S> for $pointer {
            fn now(&self) -> Timestamp {
                (**self).now()
            }

            fn apply<K: Key + ?Sized>(
                &self,
                limit: &S,
                key: &K,
                op: &Op<S>,
                now: Timestamp,
            ) -> Result<S::Verdict, StorageError> {
                (**self).apply(limit, key, op, now)
            }

            fn apply_now<K: Key + ?Sized>(
                &self,
                limit: &S,
                key: &K,
                op: &Op<S>,
            ) -> Result<S::Verdict, StorageError> {
                (**self).apply_now(limit, key, op)
            }

            fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
                (**self).load(key)
            }

            fn check_many<K: Key>(
                &self,
                limit: &S,
                keys: &[K],
                hit: &Hit<S::Cost>,
                now: Timestamp,
                answer: impl FnMut(&K, Result<S::Verdict, StorageError>),
            ) {
                (**self).check_many(limit, keys, hit, now, answer);
            }

            fn check_together<K: Key + ?Sized, const N: usize>(
                &self,
                limit: &S,
                keys: [&K; N],
                hit: &Hit<S::Cost>,
                now: Timestamp,
            ) -> Result<Together<S::Verdict, N>, StorageError> {
                (**self).check_together(limit, keys, hit, now)
            }

            fn lines(&self) -> Option<&dyn $crate::storage::Lines> {
                (**self).lines()
            }
        }
    };
}
#[cfg(feature = "alloc")]
use storage_behind;

storage_behind!(&T);

/// What kind of failure an error is: what a caller may want to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ErrorKind {
    /// Others kept changing the same key, or hold it now; nothing was charged.
    Contended,
    /// There is no room for another key; nothing was charged.
    Full,
    /// The store cannot be reached; nothing was charged.
    Unavailable,
    /// No answer in time; the hit may or may not have been charged.
    Timeout,
    /// The request can never be served as it is.
    Invalid,
    /// The storage has been closed.
    Closed,
    /// What is stored is not a state.
    Corrupt,
    /// The store refuses this client.
    Denied,
    /// Anything else.
    Other,
}

/// Why a storage in this process could not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StorageError {
    kind: ErrorKind,
    message: &'static str,
}

impl StorageError {
    /// An error of this kind; the message says what would help.
    #[must_use]
    pub const fn new(kind: ErrorKind, message: &'static str) -> Self {
        Self { kind, message }
    }

    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What would help.
    #[must_use]
    pub const fn message(&self) -> &'static str {
        self.message
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl core::error::Error for StorageError {}

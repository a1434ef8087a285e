//! Where states are kept, and what it means to run an operation on one.

use core::fmt;

use crate::{Key, Op, Strategy, Timestamp};

mod fixed;
#[cfg(feature = "alloc")]
mod future;
mod head;
mod table;

pub use fixed::Fixed;
#[cfg(feature = "alloc")]
pub use future::{AsyncStorage, BoxFuture, Failure, Local, Reply};
pub use head::{Head, Narrow, Wide};
pub use table::{Counters, Slot, Table, WhenFull};

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

    /// A copy of the state of a key.
    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError>;
}

impl<S: Strategy, T: Storage<S> + ?Sized> Storage<S> for &T {
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

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        (**self).load(key)
    }
}

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
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl core::error::Error for StorageError {}

//! The error of a storage in this process.

use core::fmt;

use crate::Strategy;

named! {
    /// The kind of a failure, for callers that act on it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[cfg_attr(feature = "defmt", derive(defmt::Format))]
    #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
    #[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
    #[non_exhaustive]
    pub enum ErrorKind {
        /// Others kept changing the same key, or hold it now; nothing was charged.
        Contended = "contended",
        /// There is no room for another key; nothing was charged.
        Full = "full",
        /// The store cannot be reached; nothing was charged.
        Unavailable = "unavailable",
        /// No answer in time; the hit may or may not have been charged.
        Timeout = "timeout",
        /// The request can never be served as it is.
        Invalid = "invalid",
        /// The storage has been closed.
        Closed = "closed",
        /// The stored bytes are not a state.
        Corrupt = "corrupt",
        /// The store refuses this client.
        Denied = "denied",
        /// Anything else.
        Other = "other",
    }
}

/// The failure of a storage in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StorageError {
    kind: ErrorKind,
    message: &'static str,
}

/// A verdict, or the reason that there is none.
pub(crate) type Answer<S> = Result<<S as Strategy>::Verdict, StorageError>;

impl StorageError {
    /// An error of this kind; the message says what would help.
    #[must_use]
    pub const fn new(kind: ErrorKind, message: &'static str) -> Self {
        Self { kind, message }
    }

    /// The kind of the failure.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The advice: what would help.
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

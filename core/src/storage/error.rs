//! The error of a storage in this process.

use core::fmt;

use crate::Strategy;

named! {
    /// The kind of a storage's failure, for callers that act on it.
    ///
    /// Match on it to choose between a retry, a fallback and an alarm. [`Timeout`](Self::Timeout) leaves open
    /// whether the hit was charged; [`Contended`](Self::Contended), [`Full`](Self::Full) and
    /// [`Unavailable`](Self::Unavailable) mean that it was not.
    ///
    /// ```
    /// use traffik::{ErrorKind, StorageError};
    ///
    /// fn may_retry(error: &StorageError) -> bool {
    ///     matches!(error.kind(), ErrorKind::Contended | ErrorKind::Unavailable)
    /// }
    /// assert!(may_retry(&StorageError::new(ErrorKind::Contended, "busy")));
    /// assert_eq!(ErrorKind::Full.name(), "full"); // in metrics and logs
    /// ```
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
        /// The storage did not answer in time; the hit may or may not have been charged.
        Timeout = "timeout",
        /// The request can never be served as it is.
        Invalid = "invalid",
        /// The storage has been closed.
        Closed = "closed",
        /// The stored bytes are not a state. A damaged file or table is [`Other`](Self::Other).
        Corrupt = "corrupt",
        /// The store refuses this client.
        Denied = "denied",
        /// Anything else.
        Other = "other",
    }
}

/// The failure of a storage in this process: its kind, and advice as text.
///
/// Every verb of [`Limiter`](crate::Limiter) fails with it. It displays as its advice.
///
/// ```
/// use traffik::storage::WhenFull;
/// use traffik::{ErrorKind, Fixed, Gcra, Limiter, ManualClock, rate};
///
/// let storage = Fixed::<Gcra, _, 1>::new(ManualClock::default(), 1).when_full(WhenFull::Refuse);
/// let limiter = Limiter::new(Gcra::new(rate!("1/min")), storage);
/// assert!(limiter.check("first")?.is_allowed());
///
/// let error = limiter.check("second").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Full);
/// assert_eq!(error.to_string(), "no room for another key; give the storage a larger capacity");
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StorageError {
    kind: ErrorKind,
    message: &'static str,
}

/// A verdict, or the reason why there is none.
pub(crate) type Answer<S> = Result<<S as Strategy>::Verdict, StorageError>;

impl StorageError {
    /// Creates an error of this kind; the message should say what would help.
    ///
    /// The error has no room for a cause, since it needs no heap: a storage that has a cause should log it.
    /// `BackendError`, the error of asynchronous storages, keeps the cause.
    #[must_use]
    pub const fn new(kind: ErrorKind, message: &'static str) -> Self {
        Self { kind, message }
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns the advice: what would help.
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

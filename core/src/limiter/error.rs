//! The error of waiting for admission.

use core::error::Error;
use core::fmt;
use core::time::Duration;

use crate::StorageError;

/// The reasons for which waiting ends without an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WaitError<E = StorageError> {
    /// The hit can never pass, however long one waits.
    Never,
    /// The hit would have to wait for longer than it may, or its line is full; nothing was taken.
    TooLong {
        /// How long it would have to wait from now on, as far as that is known: at least this.
        wait: Duration,
    },
    /// The storage could not answer.
    Storage(E),
}

impl<E: fmt::Display> fmt::Display for WaitError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("this limit can never admit the hit, however long it waits"),
            Self::TooLong { wait } => {
                write!(f, "the hit would have to wait for {wait:?}, which is too long")
            }
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl<E: Error> Error for WaitError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Never | Self::TooLong { .. } => None,
            Self::Storage(error) => error.source(),
        }
    }
}

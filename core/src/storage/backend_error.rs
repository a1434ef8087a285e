//! The failure of a storage whose answer has to be awaited.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::error::Error;
use core::fmt;

use super::{ErrorKind, StorageError};

/// The failure of an [`AsyncStorage`](super::AsyncStorage): its kind and its cause. Cheap to clone.
///
/// Every verb of [`AsyncLimiter`](crate::AsyncLimiter) fails with it; match on its [`kind`](Self::kind). It
/// displays as its cause does, and its [`source`](Error::source) is that of the cause: a program that prints
/// a chain of sources names each cause once.
///
/// ```
/// use traffik::storage::{BackendError, ErrorKind};
///
/// fn answer(error: &BackendError) -> u16 {
///     match error.kind() {
///         ErrorKind::Unavailable | ErrorKind::Timeout => 503,
///         _ => 500,
///     }
/// }
/// let error = BackendError::new(ErrorKind::Unavailable, "connection refused");
/// assert_eq!((answer(&error), error.to_string().as_str()), (503, "connection refused"));
/// ```
#[derive(Clone, Debug)]
pub struct BackendError {
    kind: ErrorKind,
    cause: Arc<dyn Error + Send + Sync>,
}

impl BackendError {
    /// Creates a failure of this kind, with its cause.
    pub fn new(kind: ErrorKind, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, cause: Arc::from(cause.into()) }
    }

    /// Returns this failure as one of another kind, with the same cause.
    #[must_use]
    pub fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Returns the cause, which can be downcast to its type.
    ///
    /// ```
    /// use traffik::StorageError;
    /// use traffik::storage::{BackendError, ErrorKind};
    ///
    /// let failure = BackendError::from(StorageError::new(ErrorKind::Full, "no room"));
    /// assert!(failure.cause().is::<StorageError>());
    /// ```
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<StorageError> for BackendError {
    fn from(error: StorageError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

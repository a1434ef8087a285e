//! The failure of a storage that may have to wait.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::error::Error;
use core::fmt;

use super::{ErrorKind, StorageError};

/// The failure of a storage: its kind and its cause. Cheap to clone.
///
/// It displays as its cause does, whose own source is then the [`source`](Error::source) of the failure: a
/// chain of sources that is printed names each cause once.
#[derive(Clone, Debug)]
pub struct BackendError {
    kind: ErrorKind,
    cause: Arc<dyn Error + Send + Sync>,
}

impl BackendError {
    /// A failure of this kind, with its cause.
    pub fn new(kind: ErrorKind, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, cause: Arc::from(cause.into()) }
    }

    /// Returns this failure as one of another kind, with the same cause.
    #[must_use]
    pub fn with_kind(self, kind: ErrorKind) -> Self {
        Self { kind, ..self }
    }

    /// Returns the cause, which can be downcast to what it is.
    ///
    /// ```
    /// use traffik::StorageError;
    /// use traffik::storage::{ErrorKind, BackendError};
    ///
    /// let failure = BackendError::from(StorageError::new(ErrorKind::Full, "no room"));
    /// assert!(failure.cause().is::<StorageError>());
    /// ```
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }

    /// The kind of failure.
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

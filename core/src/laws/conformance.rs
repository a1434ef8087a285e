//! The error of a checklist whose answers are awaited.

use core::error::Error;
use core::fmt;

use super::BrokenLaw;
use crate::storage::BackendError;

/// The error of a storage that does not conform: a broken law, or a failure of the storage.
///
/// ```
/// use traffik::laws::awaited::ConformanceError;
/// use traffik::laws::BrokenLaw;
///
/// let broken = BrokenLaw { law: 4, step: 0, what: "a denial changed the stored state" };
/// let error = ConformanceError::from(broken);
/// assert!(matches!(error, ConformanceError::Broken(broken) if broken.law == 4));
/// ```
#[derive(Clone, Debug)]
pub enum ConformanceError {
    /// A law is broken.
    Broken(BrokenLaw),
    /// The storage failed.
    Failed(BackendError),
}

impl fmt::Display for ConformanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::Failed(failure) => write!(f, "the storage failed: {failure}"),
        }
    }
}

impl Error for ConformanceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Broken(_) => None,
            Self::Failed(failure) => Some(failure),
        }
    }
}

from! { ConformanceError: BrokenLaw => Broken, BackendError => Failed, }

//! Settings of locks that are refused.

use std::fmt;

use traffik_core::ErrorKind;
use traffik_core::storage::BackendError;

/// A setting that is no good, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    what: &'static str,
    value: String,
    expected: &'static str,
}

impl SettingsError {
    pub(super) fn new(what: &'static str, value: String, expected: &'static str) -> Self {
        Self { what, value, expected }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}: give {}", self.what, self.value, self.expected)
    }
}

impl std::error::Error for SettingsError {}

/// Nothing was done: [`ErrorKind::Invalid`].
impl From<SettingsError> for BackendError {
    fn from(error: SettingsError) -> Self {
        Self::new(ErrorKind::Invalid, error)
    }
}

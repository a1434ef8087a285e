//! The error of invalid lock settings.

use std::fmt;

use traffik_core::ErrorKind;
use traffik_core::storage::BackendError;

/// The error of an invalid lock setting. Its message says what is valid.
///
/// `?` turns it into a [`BackendError`] of the kind [`Invalid`](ErrorKind::Invalid).
///
/// ```
/// use std::time::Duration;
/// use traffik::lock::Ttl;
///
/// let error = Ttl::new(Duration::ZERO).unwrap_err();
/// assert!(error.to_string().starts_with("the TTL of a lock is 0ns; give a time above zero"));
/// ```
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
        write!(f, "{} is {}; give {}", self.what, self.value, self.expected)
    }
}

impl std::error::Error for SettingsError {}

/// Converts to the kind [`ErrorKind::Invalid`]: nothing was done.
impl From<SettingsError> for BackendError {
    fn from(error: SettingsError) -> Self {
        Self::new(ErrorKind::Invalid, error)
    }
}

//! How locks are taken: how long they last, and whether and how long to wait for one.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use traffik_core::ErrorKind;
use traffik_core::storage::Failure;

use super::{Ttl, environment};

/// How a lock is to be taken; what is left open is looked for further out.
///
/// An explicit setting wins over the [global one](set_defaults), that over the environment's, and that over what is
/// built in:
///
/// | setting | variable | built in |
/// |---|---|---|
/// | `ttl`: how long a grant lasts unless renewed | `TRAFFIK_DEFAULT_LOCK_TTL`, in seconds | 5 s |
/// | `blocking`: whether to wait for who holds it | `TRAFFIK_DEFAULT_BLOCKING` | yes |
/// | `blocking_timeout`: for how long | `TRAFFIK_DEFAULT_BLOCKING_TIMEOUT`, in seconds | 2 s |
///
/// The environment is read once, when a lock is first taken. A value there that is no good is an error of every lock
/// that is taken then, whether or not it would have counted.
///
/// ```
/// use std::time::Duration;
/// use traffik_backends::lock::LockSettings;
///
/// let settings = LockSettings::new().blocking(false);
/// assert_eq!(settings.resolve()?.ttl.get(), Duration::from_secs(5));
/// assert!(LockSettings::new().ttl(Duration::ZERO).resolve().is_err());
/// # Ok::<(), traffik_backends::lock::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct LockSettings {
    ttl: Option<Duration>,
    blocking: Option<bool>,
    blocking_timeout: Option<Duration>,
}

/// Settings of which none is left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// How long a grant lasts unless it is renewed.
    pub ttl: Ttl,
    /// Whether to wait for who holds the lock.
    pub blocking: bool,
    /// For how long; zero is not to wait.
    pub blocking_timeout: Duration,
}

impl LockSettings {
    /// Everything is left open.
    pub const fn new() -> Self {
        Self { ttl: None, blocking: None, blocking_timeout: None }
    }

    /// How long a grant lasts unless it is renewed. More than zero, else it is refused where it is used.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Whether to wait for who holds the lock.
    pub const fn blocking(mut self, blocking: bool) -> Self {
        self.blocking = Some(blocking);
        self
    }

    /// How long to wait for who holds the lock; zero is not to wait.
    pub const fn blocking_timeout(mut self, timeout: Duration) -> Self {
        self.blocking_timeout = Some(timeout);
        self
    }

    /// These settings, and `outer` ones where these are left open.
    pub fn or(self, outer: Self) -> Self {
        Self {
            ttl: self.ttl.or(outer.ttl),
            blocking: self.blocking.or(outer.blocking),
            blocking_timeout: self.blocking_timeout.or(outer.blocking_timeout),
        }
    }

    /// The settings among the variables of an environment: `lookup` is asked for each by its name.
    ///
    /// # Errors
    ///
    /// Names the first variable whose value is no good, and says what would be.
    pub fn from_variables(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        environment::read(lookup)
    }

    /// What holds, with nothing left open.
    ///
    /// # Errors
    ///
    /// A TTL of zero, or a value in the environment that is no good.
    pub fn resolve(self) -> Result<Resolved, SettingsError> {
        let settings = self.or(defaults()).or(environment::of_process()?);
        Ok(Resolved {
            ttl: settings.ttl.map_or(Ok(BUILT_IN.ttl), Ttl::new)?,
            blocking: settings.blocking.unwrap_or(BUILT_IN.blocking),
            blocking_timeout: settings.blocking_timeout.unwrap_or(BUILT_IN.blocking_timeout),
        })
    }
}

/// Long for a critical section, short for whoever waits for one that died in it.
const BUILT_IN: Resolved = Resolved {
    ttl: Ttl::from_secs(NonZeroU64::MIN.saturating_add(4)),
    blocking: true,
    blocking_timeout: Duration::from_secs(2),
};

static DEFAULTS: RwLock<LockSettings> = RwLock::new(LockSettings::new());

/// The settings of this process for whatever a lock's own leave open.
pub fn defaults() -> LockSettings {
    *DEFAULTS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the settings of this process, for locks taken from now on. What is left open is taken from the environment.
///
/// # Errors
///
/// A TTL of zero is refused, and nothing is set.
pub fn set_defaults(settings: LockSettings) -> Result<(), SettingsError> {
    settings.ttl.map(Ttl::new).transpose()?;
    *DEFAULTS.write().unwrap_or_else(PoisonError::into_inner) = settings;
    Ok(())
}

/// A setting that is no good, and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    what: Cow<'static, str>,
    value: String,
    expected: &'static str,
}

impl SettingsError {
    pub(super) fn new(what: impl Into<Cow<'static, str>>, value: String, expected: &'static str) -> Self {
        Self { what: what.into(), value, expected }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}: give {}", self.what, self.value, self.expected)
    }
}

impl std::error::Error for SettingsError {}

/// Nothing was done: [`ErrorKind::Invalid`].
impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::new(ErrorKind::Invalid, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_looked_for_further_out() {
        let [second, minute] = [1, 60].map(Duration::from_secs);
        let inner = LockSettings::new().ttl(second).blocking(false);
        let outer = LockSettings::new().ttl(minute).blocking_timeout(minute);
        assert_eq!(inner.or(outer), inner.blocking_timeout(minute));
        assert_eq!(outer.or(inner), outer.blocking(false));
    }
}

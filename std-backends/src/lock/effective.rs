//! The settings of locks after all defaults are applied.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::{LockSettings, SettingsError, Ttl, environment};

/// The settings that a lock uses, with all defaults applied.
///
/// [`LockSettings::resolve`] returns it.
///
/// ```
/// use std::time::Duration;
/// use traffik::lock::LockSettings;
///
/// let settings = LockSettings::new().ttl(Duration::from_secs(30)).blocking(false).resolve()?;
/// assert_eq!(settings.ttl.get(), Duration::from_secs(30));
/// assert!(!settings.blocking);
/// # Ok::<(), traffik::lock::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveSettings {
    /// The time that a grant lasts unless it is renewed.
    pub ttl: Ttl,
    /// Whether to wait for the holder of a lock.
    pub blocking: bool,
    /// The longest wait for the holder; zero means not to wait.
    pub blocking_timeout: Duration,
}

impl LockSettings {
    /// Returns the settings with all defaults applied: the fields `ttl`, a [`Ttl`]; `blocking`, a `bool`;
    /// and `blocking_timeout`, a [`Duration`], where zero means not to wait.
    ///
    /// # Errors
    ///
    /// Fails for a TTL of zero, and for an invalid value in an environment variable. `?` turns the error
    /// into a [`BackendError`](traffik_core::storage::BackendError) of the kind
    /// [`Invalid`](traffik_core::ErrorKind::Invalid).
    pub fn resolve(self) -> Result<EffectiveSettings, SettingsError> {
        let settings = self.or(defaults()).or(environment::of_process()?);
        Ok(EffectiveSettings {
            ttl: settings.ttl.map_or(Ok(BUILT_IN.ttl), Ttl::new)?,
            blocking: settings.blocking.unwrap_or(BUILT_IN.blocking),
            blocking_timeout: settings.blocking_timeout.unwrap_or(BUILT_IN.blocking_timeout),
        })
    }
}

/// The built-in defaults: long for a critical section, short for a waiter whose holder died.
const BUILT_IN: EffectiveSettings = EffectiveSettings {
    ttl: Ttl(Duration::from_secs(5)),
    blocking: true,
    blocking_timeout: Duration::from_secs(2),
};

static DEFAULTS: RwLock<LockSettings> = RwLock::new(LockSettings::new());

/// Returns the settings of this process. They apply where the settings of a lock leave a value open.
pub fn defaults() -> LockSettings {
    *DEFAULTS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the settings of this process, for locks taken from now on. Values that `settings` leaves open come
/// from the environment.
///
/// # Errors
///
/// Fails for a TTL of zero, and then changes nothing. `?` turns the error into a
/// [`BackendError`](traffik_core::storage::BackendError) of the kind
/// [`Invalid`](traffik_core::ErrorKind::Invalid).
pub fn set_defaults(settings: LockSettings) -> Result<(), SettingsError> {
    settings.ttl.map(Ttl::new).transpose()?;
    *DEFAULTS.write().unwrap_or_else(PoisonError::into_inner) = settings;
    Ok(())
}

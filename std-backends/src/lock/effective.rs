//! The settings that hold once none is left open.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::{LockSettings, SettingsError, Ttl, environment};

/// Settings of which none is left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveSettings {
    /// How long a grant lasts unless it is renewed.
    pub ttl: Ttl,
    /// Whether to wait for who holds the lock.
    pub blocking: bool,
    /// For how long; zero is not to wait.
    pub blocking_timeout: Duration,
}

impl LockSettings {
    /// Returns the settings that hold, with none left open: the fields `ttl`, a [`Ttl`]; `blocking`, a
    /// `bool`; and `blocking_timeout`, a [`Duration`] that is zero if nobody is to wait.
    ///
    /// # Errors
    ///
    /// A TTL of zero, or a value in the environment that is no good. `?` turns the error into a
    /// [`BackendError`](traffik_core::storage::BackendError) of the kind [`Invalid`](traffik_core::ErrorKind::Invalid).
    pub fn resolve(self) -> Result<EffectiveSettings, SettingsError> {
        let settings = self.or(defaults()).or(environment::of_process()?);
        Ok(EffectiveSettings {
            ttl: settings.ttl.map_or(Ok(BUILT_IN.ttl), Ttl::new)?,
            blocking: settings.blocking.unwrap_or(BUILT_IN.blocking),
            blocking_timeout: settings.blocking_timeout.unwrap_or(BUILT_IN.blocking_timeout),
        })
    }
}

/// Long for a critical section, short for whoever waits for one that died in it.
const BUILT_IN: EffectiveSettings = EffectiveSettings {
    ttl: Ttl(Duration::from_secs(5)),
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
/// A TTL of zero is refused, and nothing is set. `?` turns the error into a
/// [`BackendError`](traffik_core::storage::BackendError) of the kind [`Invalid`](traffik_core::ErrorKind::Invalid).
pub fn set_defaults(settings: LockSettings) -> Result<(), SettingsError> {
    settings.ttl.map(Ttl::new).transpose()?;
    *DEFAULTS.write().unwrap_or_else(PoisonError::into_inner) = settings;
    Ok(())
}

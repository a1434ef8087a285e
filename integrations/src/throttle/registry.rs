//! A registry of throttles by name, which switches them on and off.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::ThrottleError;

/// A registry of throttles by name.
///
/// Choose it to switch throttles off and on at run time, and to refuse a second throttle of a name: two of
/// one name on one storage would count together, most often by mistake. A throttle enters it by
/// [`ThrottleBuilder::register`](crate::ThrottleBuilder::register). Clones share the entries.
///
/// ```
/// use traffik::{Gcra, rate};
/// use traffik::web::{Registry, Throttle};
///
/// let registry = Registry::new();
/// let api = Throttle::in_memory("api", Gcra::new(rate!("5/s"))).register(&registry).build()?;
/// assert!(Throttle::in_memory("api", Gcra::new(rate!("9/s"))).register(&registry).build().is_err());
///
/// registry.set_enabled("api", false)?;
/// assert!(!api.is_enabled());
/// drop(api);
/// assert!(registry.names().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<BTreeMap<String, Option<Weak<dyn Switch>>>>>);

/// A throttle of any type, for the registry.
pub(crate) trait Switch: Send + Sync {
    fn set_enabled(&self, enabled: bool);
    fn is_enabled(&self) -> bool;
}

/// The entry of a throttle; dropping it frees the name.
pub(crate) struct Registration {
    registry: Registry,
    uid: String,
}

impl Registry {
    /// Returns an empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the names of all throttles in use, in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Reports whether a throttle is switched on: counts and denies requests.
    ///
    /// # Errors
    ///
    /// Fails with [`ThrottleError::Unknown`] if no throttle in use has this name.
    pub fn is_enabled(&self, uid: &str) -> Result<bool, ThrottleError> {
        self.find(uid).map(|throttle| throttle.is_enabled())
    }

    /// Switches a throttle on or off. While it is off, all requests pass uncounted.
    ///
    /// # Errors
    ///
    /// Fails with [`ThrottleError::Unknown`] if no throttle in use has this name.
    pub fn set_enabled(&self, uid: &str, enabled: bool) -> Result<(), ThrottleError> {
        self.find(uid).map(|throttle| throttle.set_enabled(enabled))
    }

    fn find(&self, uid: &str) -> Result<Arc<dyn Switch>, ThrottleError> {
        // The lock ends before the throttle is used: if this is its last owner, dropping it here locks the
        // map again.
        let found = self.lock().get(uid).and_then(Option::as_ref).and_then(Weak::upgrade);
        found.ok_or_else(|| ThrottleError::Unknown(uid.to_owned()))
    }

    /// Takes a name, for a throttle that is entered later.
    pub(crate) fn reserve(&self, uid: &str) -> Result<Registration, ThrottleError> {
        let mut names = self.lock();
        if names.contains_key(uid) {
            return Err(ThrottleError::Taken(uid.to_owned()));
        }
        // The name is taken before the throttle exists, so that of two builders only one succeeds.
        names.insert(uid.to_owned(), None);
        Ok(Registration { registry: self.clone(), uid: uid.to_owned() })
    }

    pub(crate) fn enter(&self, uid: &str, throttle: Weak<dyn Switch>) {
        if let Some(place) = self.lock().get_mut(uid) {
            *place = Some(throttle);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Weak<dyn Switch>>>> {
        // No code under the lock panics halfway, so the map of a poisoned lock is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.uid);
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.names()).finish()
    }
}

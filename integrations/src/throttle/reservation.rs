//! The names of all throttles of the process by the storage that they count in.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use traffik_core::storage::WaitQueue;

use super::profile::Scope;
use crate::error::ThrottleError;

/// The set of all keys of a throttle: those in this storage with this name and scope.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct StateNamespace {
    /// The address of the queue of waiters, which clones of a storage and layers around it share.
    storage: usize,
    uid: String,
    scope: Option<String>,
}

/// The number of throttles in each namespace.
static NAMESPACES: Mutex<BTreeMap<StateNamespace, usize>> = Mutex::new(BTreeMap::new());

/// The reservation of a throttle's namespace; dropping it frees the namespace.
pub(super) struct Reservation(StateNamespace);

impl Reservation {
    /// Reserves the namespace of a throttle, which MUST keep the storage for as long as the reservation.
    ///
    /// # Errors
    ///
    /// Fails with [`ThrottleError::Shared`] if another throttle has the namespace and `is_shared` is false.
    pub(super) fn new(
        queue: &dyn WaitQueue,
        uid: &str,
        scope: Option<&Scope>,
        is_shared: bool,
    ) -> Result<Self, ThrottleError> {
        let storage = std::ptr::from_ref(queue).addr();
        let namespace = StateNamespace {
            storage,
            uid: uid.to_owned(),
            scope: scope.map(|scope| scope.name().to_owned()),
        };
        let mut namespaces = namespaces();
        if !is_shared && namespaces.contains_key(&namespace) {
            return Err(ThrottleError::Shared(namespace.uid));
        }
        *namespaces.entry(namespace.clone()).or_default() += 1;
        drop(namespaces);
        Ok(Self(namespace))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut namespaces = namespaces();
        // Invariant: a namespace is in the map exactly while its count is above 0.
        if let Some(throttles) = namespaces.get_mut(&self.0) {
            *throttles -= 1;
            if *throttles == 0 {
                namespaces.remove(&self.0);
            }
        }
    }
}

fn namespaces() -> MutexGuard<'static, BTreeMap<StateNamespace, usize>> {
    // No code under the lock panics halfway, so the map of a poisoned lock is whole.
    NAMESPACES.lock().unwrap_or_else(PoisonError::into_inner)
}

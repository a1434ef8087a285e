//! The names of all throttles of the process by the storage that they count in.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use traffik_core::storage::WaitQueue;

use super::profile::Scope;
use crate::error::ThrottleError;

/// The states of a throttle: a storage, a name and a scope.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// The address of the queue of waiters, which clones of a storage and layers around it share.
    storage: usize,
    uid: String,
    scope: Option<String>,
}

/// The number of throttles in each place.
static PLACES: Mutex<BTreeMap<Place, usize>> = Mutex::new(BTreeMap::new());

/// A throttle's place, given back when dropped.
pub(super) struct Reservation(Place);

impl Reservation {
    /// Reserves the place of a throttle, which MUST keep the storage for as long as this; refused if another
    /// throttle is there, unless it is meant to be `shared`.
    pub(super) fn new(
        queue: &dyn WaitQueue,
        uid: &str,
        scope: Option<&Scope>,
        is_shared: bool,
    ) -> Result<Self, ThrottleError> {
        let storage = std::ptr::from_ref(queue).addr();
        let place = Place { storage, uid: uid.to_owned(), scope: scope.map(|Scope(scope)| (**scope).into()) };
        let mut places = places();
        if !is_shared && places.contains_key(&place) {
            return Err(ThrottleError::Shared(place.uid));
        }
        *places.entry(place.clone()).or_default() += 1;
        drop(places);
        Ok(Self(place))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut places = places();
        if let Some(throttles) = places.get_mut(&self.0) {
            *throttles -= 1;
            if *throttles == 0 {
                places.remove(&self.0);
            }
        }
    }
}

fn places() -> MutexGuard<'static, BTreeMap<Place, usize>> {
    // Nothing is left half done under the lock.
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

//! A storage for each tenant, made on first use and kept.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use traffik_core::debug_fields;

/// A cache of one storage for each tenant, with a bounded number of tenants.
///
/// Choose it to keep the states of tenants in separate storages. Beyond the bound, the least recently used
/// one is dropped. A local storage loses its states then, so keep the bound above the number of tenants
/// that are active at a time. For a remote storage only new connections are made.
///
/// ```
/// use std::sync::Arc;
/// use traffik::Memory;
/// use traffik::storage::Local;
/// use traffik::{Gcra, rate};
/// use traffik::web::{RequestParts, Tenants, Throttle};
///
/// /// The tenant, inserted by the layer that authenticates requests.
/// #[derive(Clone)]
/// struct Tenant(String);
///
/// let tenants = Tenants::new(100);
/// let throttle = Throttle::builder_by("api", Gcra::new(rate!("5/s")), move |request: RequestParts<'_>| {
///     let tenant = request.extensions.get::<Tenant>().map_or("", |tenant| tenant.0.as_str());
///     tenants.get(tenant.to_owned(), |_| Arc::new(Local(Memory::new(1_000))))
/// });
/// let throttle = throttle.build()?;
/// # let _ = throttle;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
pub struct Tenants<K, M> {
    capacity: usize,
    known: Mutex<TenantStorages<K, M>>,
}

/// The storages, each with the number of its last call.
struct TenantStorages<K, M> {
    storages: HashMap<K, (M, u64)>,
    /// The number of calls so far.
    asked: u64,
}

impl<K: Eq + Hash + Clone, M: Clone> Tenants<K, M> {
    /// Keeps at most `capacity` storages, and at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let known = TenantStorages { storages: HashMap::new(), asked: 0 };
        Self { capacity: capacity.max(1), known: Mutex::new(known) }
    }

    /// Returns the storage of a tenant; `make` makes it if none is kept. Other callers are blocked
    /// meanwhile, so that no tenant ever has two.
    ///
    /// # Panics
    ///
    /// If `make` panics. The cache stays usable.
    pub fn get(&self, tenant: K, make: impl FnOnce(&K) -> M) -> M {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.asked += 1;
        let asked = known.asked;
        if let Some((storage, last)) = known.storages.get_mut(&tenant) {
            *last = asked;
            return storage.clone();
        }
        if known.storages.len() >= self.capacity {
            let oldest = known.storages.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(tenant, _)| tenant.clone()) {
                known.storages.remove(&oldest);
            }
        }
        // Made under the lock: a second caller waits and finds it. A panic in `make` leaves the map whole,
        // which is why a poisoned lock is used on.
        let storage = make(&tenant);
        known.storages.insert(tenant, (storage.clone(), asked));
        storage
    }

    /// Returns the number of storages that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).storages.len()
    }

    /// Reports whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

debug_fields!([K, M] Tenants<K, M>: capacity);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_asked_for_the_longest_gives_way() {
        let tenants = Tenants::new(2);
        let mut made = 0;
        let mut get = |tenant: &str| {
            tenants.get(tenant.to_owned(), |_| {
                made += 1;
                made
            })
        };
        assert_eq!([get("a"), get("b"), get("a"), get("c"), get("a"), get("b")], [1, 2, 1, 3, 1, 4]);
        assert_eq!(tenants.len(), 2);
    }
}

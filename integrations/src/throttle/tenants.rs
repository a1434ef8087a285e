//! A storage for each tenant, made on first use and kept.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use traffik_core::debug_fields;

/// A cache of one storage for each tenant, with a bounded number of tenants.
///
/// Choose it to keep the states of tenants in separate storages. Beyond the bound, the least recently used
/// storage is dropped. A local storage then loses its states, so keep the bound above the number of tenants
/// that are active at a time. A remote storage keeps its states, and only connects anew.
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
    tenants: Mutex<TenantStorages<K, M>>,
}

/// The storages, each with the number of its last call.
struct TenantStorages<K, M> {
    storages: HashMap<K, (M, u64)>,
    /// The number of calls so far.
    calls: u64,
}

impl<K: Eq + Hash + Clone, M: Clone> Tenants<K, M> {
    /// Returns an empty cache for at most `capacity` storages; 0 counts as 1.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let tenants = TenantStorages { storages: HashMap::new(), calls: 0 };
        Self { capacity: capacity.max(1), tenants: Mutex::new(tenants) }
    }

    /// Returns the storage of a tenant; `make` makes it if none is kept. Other callers block meanwhile, so
    /// that no tenant has two storages at a time. Dropping an old storage takes time linear in their number.
    ///
    /// # Panics
    ///
    /// If `make` panics. The cache stays usable.
    pub fn get(&self, tenant: K, make: impl FnOnce(&K) -> M) -> M {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.calls += 1;
        let call = tenants.calls;
        if let Some((storage, last)) = tenants.storages.get_mut(&tenant) {
            *last = call;
            return storage.clone();
        }
        if tenants.storages.len() >= self.capacity {
            let oldest = tenants.storages.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(tenant, _)| tenant.clone()) {
                tenants.storages.remove(&oldest);
            }
        }
        // Made under the lock, so that a second caller waits and finds it. A panic in `make` leaves the map
        // whole, so a poisoned lock can be used.
        let storage = make(&tenant);
        tenants.storages.insert(tenant, (storage.clone(), call));
        storage
    }

    /// Returns the number of storages that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).storages.len()
    }

    /// Reports whether no storage is kept.
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
    fn the_least_recently_used_storage_is_dropped() {
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

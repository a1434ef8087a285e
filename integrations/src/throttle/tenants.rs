//! A storage for each tenant, made when it is first asked for and kept for the next time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use traffik_core::debug_fields;

/// Keeps a storage for each of a bounded number of tenants; beyond that the one that was not asked for the longest is let
/// go.
///
/// What a local storage held is forgotten with it, so the bound is to be above the number of tenants that are active at a
/// time; connections to a storage elsewhere are merely made anew.
///
/// ```
/// use std::sync::Arc;
/// use traffik::Memory;
/// use traffik::storage::Local;
/// use traffik::{Gcra, rate};
/// use traffik::web::{RequestParts, Tenants, Throttle};
///
/// /// Put there by whatever checks who is asking.
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
    most: usize,
    known: Mutex<TenantStorages<K, M>>,
}

struct TenantStorages<K, M> {
    storages: HashMap<K, (M, u64)>,
    /// How often was asked so far.
    asked: u64,
}

impl<K: Eq + Hash + Clone, M: Clone> Tenants<K, M> {
    /// Keeps at most this many storages, and at least one.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let known = TenantStorages { storages: HashMap::new(), asked: 0 };
        Self { most: most.max(1), known: Mutex::new(known) }
    }

    /// The storage of a tenant; `make` makes it if it is not kept. While one is made nobody else is answered, so that no
    /// tenant ever has two.
    pub fn get(&self, tenant: K, make: impl FnOnce(&K) -> M) -> M {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.asked += 1;
        let asked = known.asked;
        if let Some((storage, last)) = known.storages.get_mut(&tenant) {
            *last = asked;
            return storage.clone();
        }
        if known.storages.len() >= self.most {
            let oldest = known.storages.iter().min_by_key(|(_, (_, last))| *last);
            if let Some(oldest) = oldest.map(|(tenant, _)| tenant.clone()) {
                known.storages.remove(&oldest);
            }
        }
        let storage = make(&tenant);
        known.storages.insert(tenant, (storage.clone(), asked));
        storage
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).storages.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

debug_fields!([K, M] Tenants<K, M>: most);

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

//! Locks on Memcached, for critical sections of users' own.

use std::pin::pin;

use traffik_core::storage::{BackendError, ErrorKind, Reply};
use traffik_core::{Clock, debug_fields};
use traffik_runtimes::Connect;

use super::command::{Get, Store};
use super::expiry::{SPARE, expiry};
use super::meta::{ADDED, Count, Counted, Remove};
use super::{MemcachedStorage, name};
use crate::SystemClock;
use crate::lock::{Grant, Lock, Owner, Ttl};

/// Locks on the servers that a [`MemcachedStorage`] is connected to, in its namespace.
///
/// A name is an item that is there while it is held; fencing tokens are counted by another one. Granting
/// takes two calls, and so do renewing and releasing. Servers count in whole seconds: a grant ends up to
/// three seconds after its TTL. It is lost with the server's memory, or if that is full: the name may then
/// be granted again, so use the fencing token, which grows also then, as long as the clocks of hosts do not
/// differ by more than the time that a grant took. [`MemcachedStorage::clear`] leaves locks alone.
#[derive(Clone)]
pub struct MemcachedLock<R: Connect>(MemcachedStorage<R>);

debug_fields!([R: Connect] MemcachedLock<R>: namespace = |it| &it.0.items.namespace);

impl<R: Connect> MemcachedStorage<R> {
    /// Locks beside the states, by the same connections.
    #[must_use]
    pub fn lock(&self) -> MemcachedLock<R> {
        MemcachedLock(self.clone())
    }
}

impl<R: Connect> MemcachedLock<R> {
    async fn acquire(&self, name: Vec<u8>, owner: Owner, ttl: Ttl) -> Result<Option<Grant>, BackendError> {
        const FOR_EVER: u32 = 0;
        let items = &self.0.items;
        let (escaped, mut end) = (name::escaped(&&*name), pin!(items.end()));
        let server = items.server(&escaped)?;
        let held = name::other(&items.namespace, "lock", &escaped);
        let expiry = expiry(ttl.get(), SPARE, || server.clock().now());
        let added = Store { name: &held, bytes: owner.as_bytes(), expiry, unique: None };
        if !server.call(added, end.as_mut()).await? {
            return Ok(None);
        }
        let fence = name::other(&items.namespace, "fence", &escaped);
        // A counter that was lost begins with the time, so it is past where it was.
        let first = SystemClock.now().as_micros();
        let counted = Count { name: &fence, change: ADDED, first, expiry: FOR_EVER };
        match server.call(counted, end).await? {
            Counted::To { value, .. } => Ok(Some(Grant::new(name, owner, value))),
            Counted::Not => {
                Err(BackendError::new(ErrorKind::Corrupt, format!("{fence} is no number; remove it")))
            }
        }
    }

    /// Changes the item of a grant, if it is still that grant's.
    async fn change(&self, grant: &Grant, kept: Option<Ttl>) -> Result<bool, BackendError> {
        let items = &self.0.items;
        let (escaped, mut end) = (name::escaped(&grant.name()), pin!(items.end()));
        let server = items.server(&escaped)?;
        let name = &name::other(&items.namespace, "lock", &escaped);
        let bytes = grant.owner();
        let bytes = bytes.as_bytes();
        match server.call(Get(name), end.as_mut()).await? {
            Some((owner, unique)) if owner == bytes => match kept {
                Some(ttl) => {
                    let expiry = expiry(ttl.get(), SPARE, || server.clock().now());
                    server.call(Store { name, bytes, expiry, unique: Some(unique) }, end).await
                }
                None => server.call(Remove { name, unique }, end).await,
            },
            _ => Ok(false),
        }
    }
}

impl<R: Connect> Lock for MemcachedLock<R> {
    fn try_acquire(&self, name: &[u8], ttl: Ttl) -> Reply<Option<Grant>> {
        let (lock, name, owner) = (self.clone(), name.to_vec(), Owner::random());
        Reply::pending(async move { lock.acquire(name, owner, ttl).await })
    }

    fn renew(&self, grant: &Grant, ttl: Ttl) -> Reply<bool> {
        let (lock, grant) = (self.clone(), grant.clone());
        Reply::pending(async move { lock.change(&grant, Some(ttl)).await })
    }

    fn release(&self, grant: Grant) -> Reply<bool> {
        let lock = self.clone();
        Reply::pending(async move { lock.change(&grant, None).await })
    }
}

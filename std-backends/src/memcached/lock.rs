//! Locks on Memcached, for critical sections of your own.

use std::pin::pin;

use traffik_core::storage::{BackendError, ErrorKind, Reply};
use traffik_core::{Clock, debug_fields};
use traffik_runtimes::Connect;

use super::command::{GetCommand, StoreCommand};
use super::expiry::{SPARE, expiry};
use super::meta::{ArithmeticCommand, ArithmeticReply, INCREMENT, RemoveCommand};
use super::{MemcachedStorage, name};
use crate::SystemClock;
use crate::lock::{Grant, Lock, Owner, Ttl};

/// Locks on the servers of a [`MemcachedStorage`], in its namespace.
///
/// Choose it where Memcached is the only store, and protect the resource with the fencing token. `RedisLock`
/// keeps grants as long as its server keeps data.
///
/// * A held name is an item that lives as long as the grant. A second item counts fencing tokens. Granting,
///   renewing and releasing take at most two round trips each, within one
///   [timeout](super::MemcachedBuilder::timeout).
/// * Servers count whole seconds, so a grant ends up to three seconds after its TTL. With a TTL of about 30
///   days or more it ends up to a day later, and one that would end after 2038 never ends by itself.
/// * A grant is lost if the server restarts or evicts the item. The name may then be granted again, so hand
///   the [fencing token](Grant::fencing) to whatever the lock protects. Tokens grow even then, as long as the
///   clocks of hosts differ by less than the time that a grant took.
/// * A call that fails with [`Timeout`](ErrorKind::Timeout), and an answer that is dropped, may leave the
///   name granted without a holder until its TTL is over.
/// * [`MemcachedStorage::clear`] leaves locks alone.
///
/// ```no_run
/// use traffik::MemcachedStorage;
/// use traffik::lock::Locks;
/// # use traffik::runtime::Connect;
///
/// # async fn example(runtime: impl Connect) -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemcachedStorage::servers(runtime.clone(), ["127.0.0.1:11211"]).build()?;
/// let locks = Locks::new(storage.lock(), runtime);
/// let guard = locks.lock("invoices/7").await?;
/// println!("the fencing token is {}", guard.fencing());
/// guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemcachedLock<R: Connect>(MemcachedStorage<R>);

debug_fields!([R: Connect] MemcachedLock<R>: namespace = |it| &it.0.items.namespace);

impl<R: Connect> MemcachedStorage<R> {
    /// Returns locks in this storage's namespace, on the same connections.
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
        // `add` is atomic on the server: of several tries, one finds no item and holds the name.
        let addition = StoreCommand { name: &held, bytes: owner.as_bytes(), expiry, unique: None };
        if !server.call(addition, end.as_mut()).await? {
            return Ok(None);
        }
        let fence = name::other(&items.namespace, "fence", &escaped);
        // A counter that was lost restarts at the present time, which is beyond every earlier token.
        let first = SystemClock.now().as_micros();
        let increment = ArithmeticCommand { name: &fence, change: INCREMENT, first, expiry: FOR_EVER };
        match server.call(increment, end).await? {
            ArithmeticReply::Value { value, .. } => Ok(Some(Grant::new(name, owner, value))),
            ArithmeticReply::NotANumber => Err(BackendError::new(
                ErrorKind::Corrupt,
                format!("the item {fence} holds no number; delete it"),
            )),
        }
    }

    /// Renews a grant for `kept`, or releases it, if the owner still holds it.
    async fn change(&self, grant: &Grant, kept: Option<Ttl>) -> Result<bool, BackendError> {
        let items = &self.0.items;
        let (escaped, mut end) = (name::escaped(&grant.name()), pin!(items.end()));
        let server = items.server(&escaped)?;
        let name = &name::other(&items.namespace, "lock", &escaped);
        let bytes = grant.owner();
        let bytes = bytes.as_bytes();
        // Changed by the CAS version that was read, so a grant that ends in between is not taken from another
        // owner.
        match server.call(GetCommand(name), end.as_mut()).await? {
            Some((owner, unique)) if owner == bytes => match kept {
                Some(ttl) => {
                    let expiry = expiry(ttl.get(), SPARE, || server.clock().now());
                    server.call(StoreCommand { name, bytes, expiry, unique: Some(unique) }, end).await
                }
                None => server.call(RemoveCommand { name, unique }, end).await,
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

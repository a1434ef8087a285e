//! A storage on Redis: states shared by all processes that use the same server.

use std::sync::Arc;

use futures_util::future::join_all;
use traffik_core::storage::{AsyncStorage, BackendError, MultiKeyReply, Reply, WaitQueue};
use traffik_core::{ErasedKey, Hit, Op, Strategy, Timestamp, debug_fields};

use crate::cas::{self, Coalescing, CompareAndSwap};
use crate::util::key::KeyRefs;

mod budgets;
mod builder;
mod check;
mod clear;
#[cfg(any(feature = "smol", feature = "tokio"))]
mod connections;
mod evictions;
mod failure;
mod inner;
mod known;
#[cfg(feature = "locks")]
mod lock;
mod name;
#[cfg(any(feature = "smol", feature = "tokio"))]
mod net;
#[cfg(not(any(feature = "smol", feature = "tokio")))]
#[path = "redis/no_net.rs"]
mod net;
#[cfg(any(feature = "smol", feature = "tokio"))]
mod open;
#[cfg(all(feature = "locks", any(feature = "smol", feature = "tokio")))]
mod redlock;
mod script;
mod servers;
mod session;
mod transport;

pub use builder::RedisBuilder;
use inner::RedisInner;
#[cfg(feature = "locks")]
pub use lock::RedisLock;
#[cfg(any(feature = "smol", feature = "tokio"))]
pub use net::ServerAddress;
#[cfg(all(feature = "locks", any(feature = "smol", feature = "tokio")))]
pub use redlock::Redlock;

/// A storage on a Redis server (7.0 or later), a cluster, or the master that sentinels name.
///
/// Choose it where several processes share limits, or where states must survive a restart of a process.
///
/// The storage connects when it is first used, and again after a connection is lost. Within tokio it uses
/// tokio (feature `tokio`), whose runtime needs its timer and its sockets (`enable_all`). Elsewhere it uses
/// smol (feature `smol`), which also serves async-std and every other executor. All calls of a runtime share
/// one connection to a server, and each call has a [deadline](RedisBuilder::timeout). Times come from the
/// server's clock.
///
/// Connections of yours work through [`connection`](Self::connection), [`pool`](Self::pool) or, without any
/// runtime feature, [`commands`](Self::commands). The last lists their weaker guarantees.
///
/// ```no_run
/// use traffik::RedisStorage;
/// use traffik::{AsyncLimiter, Rate, TokenBucket};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = RedisStorage::url("redis://127.0.0.1")?.namespace("api").build()?;
/// storage.ready().await?;
/// let limiter = AsyncLimiter::new(TokenBucket::new(Rate::per_minute(100)), storage);
/// assert!(limiter.check("alice").await?.is_allowed());
/// # Ok(())
/// # }
/// ```
///
/// # Faults
///
/// A connection may break before a call sent anything, such as one that the server closed while it was idle.
/// Such a call is sent on a new connection within its deadline. After a failed attempt to connect, the
/// storage tries again after at most 25 ms, and then less often, down to five to ten times a second. Calls
/// fail in the pauses. The storage writes one [warning](RedisBuilder::on_warning) when a fault begins, with
/// the server and the cause, and one when it has ended.
///
/// The keys of a cluster are on several [nodes](AsyncStorage::node), which fail one at a time.
///
/// # Stored keys
///
/// The state of a key is one string, which lives no longer than the limit remembers it. Any other value at a
/// key counts as a key never seen; [`corrupt`](Self::corrupt) counts such values.
///
/// An evicted key gets its whole limit again. Set `maxmemory-policy noeviction`, with `maxmemory` for all
/// keys: a full server then refuses all writes, and calls fail with `Unavailable`. The policies `allkeys-*`
/// and `volatile-*` evict states, since all states have a time to live. [`evictions`](Self::evictions) counts
/// evictions.
///
/// # Errors
///
/// * [`Timeout`](traffik_core::ErrorKind::Timeout): the server did not answer in time, or the connection
///   broke before the answer. The hit may have been charged, so it is not sent again.
/// * [`Unavailable`](traffik_core::ErrorKind::Unavailable): the storage could not connect, the server does
///   not serve now or takes no writes, or an operation that charges nothing got no answer in time. Nothing
///   was charged.
/// * [`Denied`](traffik_core::ErrorKind::Denied): the server refuses this client because of a password, a
///   permission or a database. Nothing was charged.
/// * [`Contended`](traffik_core::ErrorKind::Contended): other processes kept changing the same key. Nothing
///   was charged.
/// * [`Closed`](traffik_core::ErrorKind::Closed): the storage was [closed](Self::close).
/// * [`Corrupt`](traffik_core::ErrorKind::Corrupt) and [`Other`](traffik_core::ErrorKind::Other): the
///   server's reply is none that Redis sends.
#[derive(Clone)]
pub struct RedisStorage {
    inner: Arc<RedisInner>,
    combining: Coalescing<RedisInner>,
}

debug_fields!(
    [] RedisStorage:
    namespace = |it| &it.inner.namespace,
    servers = |it| &it.inner.servers,
    persistent = |it| it.inner.persistent
);

impl RedisStorage {
    /// Checks that each server can be reached, lets this client run scripts, and accepts writes.
    ///
    /// Writes a key of its own on each server, which lives for a second, and reads the count of
    /// [evictions](Self::evictions). Waits at most for [`connect_timeout`](RedisBuilder::connect_timeout), or
    /// for [`timeout`](RedisBuilder::timeout) if that is longer, and then for three times the `timeout`. A
    /// dropped future leaves at most that key, and connections that later calls use.
    ///
    /// # Errors
    ///
    /// Fails as a call does, with the failure of one server; [`nodes`](Self::nodes) returns the fault of
    /// each.
    pub async fn ready(&self) -> Result<(), BackendError> {
        // `#` keeps these keys out of the namespace, so that clearing and checks never meet them.
        // Each server gets a key of its own: in a cluster, keys are tried until each node has one.
        let RedisInner { servers, namespace, .. } = &*self.inner;
        let namespace = format!("{namespace}#ready");
        let until = servers.end_with_connecting();
        let keys = servers.key_of_each(until, |number| name::name(&namespace, &number)).await?;
        let probed = join_all(keys.iter().map(|key| self.inner.probe(until, key))).await;
        servers.look().await;
        probed.into_iter().collect()
    }

    /// Returns the name of each known server, and the last cause of its present fault if it has one. A
    /// cluster has one entry for each node once it has reported them; any other storage has one entry.
    #[must_use]
    pub fn nodes(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        self.inner.servers.faults()
    }

    /// Returns how many keys, of any client, the servers have evicted since this storage first asked them.
    /// Each state among them has its whole limit again. Clones count together.
    ///
    /// The storage asks each server by `INFO` at most every 10 seconds, in one round trip with another call,
    /// and in [`ready`](Self::ready). It writes one [warning](RedisBuilder::on_warning) for a server that is
    /// configured to evict, or for the first eviction that it sees. Evictions on a server that refuses `INFO`
    /// are not counted.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.inner.servers.evictions.count()
    }

    /// Returns how often a key held a value that is no state of its limit, because another program or a limit
    /// of another kind wrote it. Such a key counts as never seen, with its whole limit. A [lock](Self::lock)
    /// whose key holds no string counts as well, and fails with
    /// [`Corrupt`](traffik_core::ErrorKind::Corrupt). The storage writes one
    /// [warning](RedisBuilder::on_warning) for the first such value. Clones count together.
    #[must_use]
    pub fn corrupt(&self) -> u64 {
        self.inner.corrupt.count()
    }

    /// Forgets every key of this namespace, a few at a time, so that the server can serve other calls
    /// between. A key that is used meanwhile may be forgotten or not.
    ///
    /// Waits for one call for each key of the namespace, and one for about each 500 keys of the server. Each
    /// call takes at most the [`timeout`](RedisBuilder::timeout). A dropped future leaves the remaining keys.
    ///
    /// # Errors
    ///
    /// Fails as a call does, and leaves the remaining keys. Fails with
    /// [`Invalid`](traffik_core::ErrorKind::Invalid) for a cluster behind a connection of yours.
    pub async fn clear(&self) -> Result<(), BackendError> {
        clear::clear(&self.inner.servers, &self.inner.namespace).await
    }

    /// Waits for the calls under way, each of which ends by its deadline, and then closes the connections.
    /// Later calls fail with [`Closed`](traffik_core::ErrorKind::Closed), also those of all clones.
    /// Connections of yours stay open.
    ///
    /// Stored states stay, unless the storage is not [persistent](RedisBuilder::persistent): then `close`
    /// [clears](Self::clear) the namespace last, which takes as long as `clear`. A future dropped while calls
    /// are under way closes nothing. One dropped during the clearing leaves new calls refused and the
    /// connections open.
    ///
    /// # Errors
    ///
    /// Fails as [`clear`](Self::clear) does, if the storage is not persistent. The storage is closed in any
    /// case.
    pub async fn close(&self) -> Result<(), BackendError> {
        if !self.inner.gate.close().await {
            return Ok(());
        }
        let cleared = if self.inner.persistent { Ok(()) } else { self.clear().await };
        self.inner.servers.close();
        cleared
    }
}

impl<S: Strategy> AsyncStorage<S> for RedisStorage {
    /// Runs an operation. A check of strategies that the scripts know takes one call, also of several limits
    /// at once. Any other operation takes one call, and a second one if it changes the state. Concurrent
    /// operations of this process on the same key share these calls. More are made if other processes change
    /// the key.
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let name = name::name(&self.inner.namespace, key);
        let (inner, combining, strategy, op) =
            (self.inner.clone(), self.combining.clone(), strategy.clone(), *op);
        Reply::pending(async move {
            let _inside = inner.gate.enter()?;
            let until = inner.servers.end();
            if let Op::Check(hit) = &op
                && let Some(verdict) = check::one(&inner, until, &strategy, hit, &name).await?
            {
                return Ok(verdict);
            }
            // Boxed, so that the future of a check that takes one call stays small.
            Box::pin(combining.apply(strategy, name, op).by(inner.servers.until(until))).await
        })
    }

    /// Checks all keys in one call if the scripts know the strategy, all keys differ and, on a cluster, all
    /// are in one slot.
    fn check_together(
        &self,
        strategy: &S,
        keys: KeyRefs<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        let names: Vec<_> = keys.iter().map(|key| name::name(&self.inner.namespace, *key)).collect();
        let (inner, strategy, hit) = (self.inner.clone(), strategy.clone(), *hit);
        if !name::are_distinct(&names) || (inner.servers.is_cluster() && !name::share_a_slot(&names)) {
            // A script may not see one key twice, and a cluster refuses keys of several slots.
            return Reply::ready(Ok(MultiKeyReply::Unsupported));
        }
        Reply::pending(async move {
            let _inside = inner.gate.enter()?;
            match check::together(&inner, inner.servers.end(), &strategy, &hit, &names).await {
                // A user's connection may lead to a cluster. Its refusal charged nothing, so the keys can be
                // checked one by one.
                Err(failure) if failure::is_cross_slot(&failure) => Ok(MultiKeyReply::Unsupported),
                reply => Ok(reply?.map_or(MultiKeyReply::Unsupported, MultiKeyReply::Atomic)),
            }
        })
    }

    fn load(&self, _: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (inner, name) = (self.inner.clone(), name::name(&self.inner.namespace, key));
        Reply::pending(async move {
            let _inside = inner.gate.enter()?;
            let loaded = inner.load(&name).await?;
            Ok((cas::state_or::<S>(loaded.bytes.as_deref(), || inner.found_corrupt()), loaded.now))
        })
    }

    fn node(&self, key: &dyn ErasedKey) -> Option<Arc<str>> {
        self.inner.servers.node(|| name::name(&self.inner.namespace, key))
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.inner.wait_queue)
    }
}

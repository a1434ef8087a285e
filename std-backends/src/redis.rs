//! States on Redis, shared by all who use the same server, on the server's clock.

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
use inner::Inner;
#[cfg(feature = "locks")]
pub use lock::RedisLock;
#[cfg(any(feature = "smol", feature = "tokio"))]
pub use net::ServerAddress;
#[cfg(all(feature = "locks", any(feature = "smol", feature = "tokio")))]
pub use redlock::Redlock;

/// Keeps states on a Redis server (7.0 or later), a cluster, or whichever server sentinels name.
///
/// Connects when it is first used: on tokio from within it (feature `tokio`), else on smol, which serves
/// async-std and all others as well (feature `smol`); and again when the connection was lost. All calls of a
/// runtime share one connection, which needs its timer (`enable_time`), and each call has a
/// [deadline](RedisBuilder::timeout). Connections that you have already are taken by
/// [`connection`](Self::connection), [`pool`](Self::pool) or, without any runtime turned on, by
/// [`commands`](Self::commands), which says what is weaker then.
/// Times are those of the server's clock, whoever asks.
///
/// A call of which nothing was sent, as on a connection that the server closed while it was idle, is sent on
/// a new one within its deadline. A server that cannot be connected to is tried again after 25 ms, and then
/// less and less often, down to five to ten times a second; calls fail meanwhile. A fault has one line when
/// it begins, with the server and the cause, and one when it has ended
/// ([`on_warning`](RedisBuilder::on_warning)).
///
/// Keys of a cluster are on several [nodes](AsyncStorage::node), which fail one at a time.
///
/// What is stored of a key is one string that lives no longer than the limit remembers it. Whatever else is
/// found at a key counts as a key never seen; [`corrupt`](Self::corrupt) counts how often that was so.
///
/// A key that the server evicts has its whole limit granted anew. Set `maxmemory-policy noeviction`, with
/// `maxmemory` for all keys: a server that is full then refuses all writes, and calls fail with
/// `Unavailable`. The policies `allkeys-*` and `volatile-*` evict states, for all of them have a time to
/// live; [`evictions`](Self::evictions) counts what was evicted.
///
/// # Errors
///
/// * [`Timeout`](traffik_core::ErrorKind::Timeout): no answer in time, or the connection broke while it was
///   awaited. The hit may have been charged or not; it is not sent again.
/// * [`Unavailable`](traffik_core::ErrorKind::Unavailable): not connected, or the server does not serve now,
///   or takes no writes, or gave no answer in time to what charges nothing. Nothing was charged.
/// * [`Denied`](traffik_core::ErrorKind::Denied): the server refuses this client, for a password, a right or
///   a database. Nothing was charged.
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
#[derive(Clone)]
pub struct RedisStorage {
    inner: Arc<Inner>,
    combining: Coalescing<Inner>,
}

debug_fields!(
    [] RedisStorage:
    namespace = |it| &it.inner.namespace,
    servers = |it| &it.inner.servers,
    persistent = |it| it.inner.persistent
);

impl RedisStorage {
    /// Whether each server can be reached and counts for this client: asks it to write a key of its own,
    /// which lives for a second; looks for [evictions](Self::evictions). Waits for connections, for as long
    /// as [connecting](RedisBuilder::connect_timeout) may take.
    ///
    /// # Errors
    ///
    /// Fails with the failure of one server if one fails; [`nodes`](Self::nodes) has that of each.
    pub async fn ready(&self) -> Result<(), BackendError> {
        let Inner { servers, namespace, .. } = &*self.inner;
        let namespace = format!("{namespace}#ready");
        let until = servers.end_with_connecting();
        let keys = servers.key_of_each(until, |number| name::name(&namespace, &number)).await?;
        let probed = join_all(keys.iter().map(|key| self.inner.probe(until, key))).await;
        servers.look().await;
        probed.into_iter().collect()
    }

    /// Returns the name of each server that is known, and the last cause of its present fault, if it has one:
    /// the servers of a cluster once it has been asked, else the one that has all keys.
    #[must_use]
    pub fn nodes(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        self.inner.servers.faults()
    }

    /// Returns how many keys the servers have given up for want of memory while this storage was used,
    /// whoever's they were: each key among them has its whole limit again. Clones count together.
    ///
    /// A server is asked by `INFO` every 10 seconds at most, in one round trip with what is asked anyway,
    /// and by [`ready`](Self::ready). A server that is set up to give keys up is
    /// [warned](RedisBuilder::on_warning) of, once, and so is the first eviction that is seen. A server
    /// that refuses `INFO` counts none.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.inner.servers.evictions.count()
    }

    /// Returns how often a value was found at a key that is no state of the limit: one that another program
    /// wrote, or a limit of another kind. Its key counts as one never seen, with its whole limit. A
    /// [lock](Self::lock) on whose name there is no string counts as well, and fails with
    /// [`DecodeError`](traffik_core::ErrorKind::Corrupt). The first one is [warned](RedisBuilder::on_warning) of,
    /// once. Clones count together.
    #[must_use]
    pub fn corrupt(&self) -> u64 {
        self.inner.corrupt.count()
    }

    /// Forgets every key of this namespace, some at a time, so that the server goes on meanwhile. Keys that
    /// are used meanwhile may be forgotten or not. Each of its many calls has the deadline of one.
    pub async fn clear(&self) -> Result<(), BackendError> {
        clear::clear(&self.inner.servers, &self.inner.namespace).await
    }

    /// Lets those calls end that are on their way, which each do by their deadline, and then ends the
    /// connection. Calls that come from now on fail with [`Closed`](traffik_core::ErrorKind::Closed), those
    /// of all clones. What is stored stays, unless the storage was made not to be
    /// [persistent](RedisBuilder::persistent): then the namespace is [cleared](Self::clear) last, and if that
    /// fails it is told so, and the storage is closed all the same.
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
    /// A check of the strategies that the server knows takes one call, also of several as one; whatever else
    /// takes two, together with all that ask for the same key meanwhile, and as many more as others change
    /// it.
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
            // In a future of its own, which checks that take one call need no room for.
            Box::pin(combining.apply(strategy, name, op).by(inner.servers.until(until))).await
        })
    }

    /// In one call if the server knows the strategy and has all keys in one slot, as any server that is no
    /// cluster does.
    fn check_together(
        &self,
        strategy: &S,
        keys: KeyRefs<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        let names: Vec<_> = keys.iter().map(|key| name::name(&self.inner.namespace, *key)).collect();
        let (inner, strategy, hit) = (self.inner.clone(), strategy.clone(), *hit);
        if !name::are_distinct(&names) || (inner.servers.is_cluster() && !name::share_a_slot(&names)) {
            return Reply::ready(Ok(MultiKeyReply::Unsupported));
        }
        Reply::pending(async move {
            let _inside = inner.gate.enter()?;
            match check::together(&inner, inner.servers.end(), &strategy, &hit, &names).await {
                Err(failure) if failure::is_cross_slot(&failure) => Ok(MultiKeyReply::Unsupported),
                told => Ok(told?.map_or(MultiKeyReply::Unsupported, MultiKeyReply::Atomic)),
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

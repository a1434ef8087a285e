//! States on Redis, shared by all who use the same server, on the server's clock.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::lock::Mutex as AsyncMutex;
use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{Client, IntoConnectionInfo, RedisError};
use traffik_core::storage::{AsyncStorage, Failure, Joint, Reply, WaitQueue};
use traffik_core::{Clock, ErasedKey, Hit, Op, Strategy, Timestamp, debug_fields};

use crate::FifoQueue;
use crate::cas::{self, Combining, Swap};
use crate::util::evictions::Evictions;
use crate::util::key::Keys;
use crate::util::namespace;
use crate::util::setters::setters;
use crate::util::shutdown::ShutdownGate;
use crate::util::warning::{self, Writer};

mod check;
mod clear;
mod cluster;
mod evictions;
mod failure;
mod inner;
mod link;
#[cfg(feature = "locks")]
mod lock;
mod name;
#[cfg(feature = "locks")]
mod redlock;
mod script;
mod servers;
mod timer;
mod watchdog;

use inner::Inner;
use link::Source;
#[cfg(feature = "locks")]
pub use lock::RedisLock;
#[cfg(feature = "locks")]
pub use redlock::Redlock;
use servers::{Place, Servers};

/// Keeps states on a Redis server (7.0 or later), a cluster, or whichever server sentinels name.
///
/// Connects when it is first used, on tokio if it is used from within it, else on smol, which serves
/// async-std as well (feature `redis-smol`; without it, calls outside of tokio fail); and again when the
/// connection was lost. All calls share one connection, and each has a [deadline](RedisBuilder::timeout).
/// Times are those of the server's clock, whoever asks.
///
/// What is stored of a key is one string that lives no longer than the limit remembers it. Whatever else is
/// found at a key counts as a key never seen.
///
/// A key that the server evicts has its whole limit granted anew. Set `maxmemory-policy noeviction`, with
/// `maxmemory` for all keys: a server that is full then refuses what it has no room for, and calls fail with
/// `Full`. The policies `allkeys-*` and `volatile-*` evict states, for all of them have a time to live;
/// [`evictions`](Self::evictions) counts what was evicted.
///
/// # Errors
///
/// * [`Timeout`](traffik_core::ErrorKind::Timeout): no answer in time, or the connection broke while it was
///   awaited. The hit may have been charged or not; it is not sent again.
/// * [`Unavailable`](traffik_core::ErrorKind::Unavailable): not connected, or the server does not serve now,
///   or no answer in time to what charges nothing. Nothing was charged.
/// * [`Denied`](traffik_core::ErrorKind::Denied), [`Full`](traffik_core::ErrorKind::Full): the server refuses
///   this client, or all writes.
///
/// ```no_run
/// use traffik_backends::RedisStorage;
/// use traffik_core::{AsyncLimiter, Rate, TokenBucket};
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
    combining: Combining<Inner>,
}

debug_fields!(
    [] RedisStorage:
    namespace = |it| &it.inner.namespace,
    servers = |it| &it.inner.servers,
    persistent = |it| it.inner.persistent
);

/// The longest that a call may take: until then there is a time to come on every clock.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What a [`RedisStorage`] is to be like.
#[must_use]
pub struct RedisBuilder {
    place: Place,
    namespace: String,
    timeout: Duration,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
    warnings: Writer,
    persistent: bool,
    max_waiting: usize,
}

debug_fields!([] RedisBuilder: namespace, timeout);

impl RedisStorage {
    /// A server by its address, such as `redis://user:password@host:6379/0`, or `rediss://` for TLS (feature
    /// `redis-tls`): with the roots that the operating system trusts, and ring's cryptography unless the
    /// program has installed other.
    pub fn url(url: &str) -> Result<RedisBuilder, RedisError> {
        Self::client(Client::open(url)?)
    }

    /// A server by a client of yours. Connections send without delay, whatever it says.
    pub fn client(client: Client) -> Result<RedisBuilder, RedisError> {
        let info = client.get_connection_info().clone().into_connection_info()?;
        let settings = info.tcp_settings().clone().set_nodelay(true);
        Ok(RedisBuilder::new(Place::One(Source::Client(Box::new(Client::open(
            info.set_tcp_settings(settings),
        )?)))))
    }

    /// A connection of yours. Once it is lost, all calls fail.
    pub fn connection(connection: MultiplexedConnection) -> RedisBuilder {
        Self::factory(move || std::future::ready(Ok(connection.clone())))
    }

    /// Connections that you make, one at a time, whenever one is needed.
    pub fn factory<F>(connect: impl Fn() -> F + Send + Sync + 'static) -> RedisBuilder
    where
        F: Future<Output = Result<MultiplexedConnection, RedisError>> + Send + 'static,
    {
        RedisBuilder::new(Place::One(Source::Factory(Arc::new(move || connect().boxed()))))
    }

    /// A cluster, found by some of its nodes, which may change meanwhile. Those that are not named are
    /// connected to as the first one is, with its user and password and over TLS if it is.
    pub fn cluster<T: IntoConnectionInfo>(
        nodes: impl IntoIterator<Item = T>,
    ) -> Result<RedisBuilder, RedisError> {
        let nodes = nodes.into_iter().map(|node| {
            let info = node.into_connection_info()?;
            let settings = info.tcp_settings().clone().set_nodelay(true);
            Ok(info.set_tcp_settings(settings))
        });
        Ok(RedisBuilder::new(Place::Cluster(nodes.collect::<Result<_, RedisError>>()?)))
    }

    /// The master that sentinels name, by a client of yours. It is asked for anew whenever a connection is
    /// made.
    pub fn sentinel(client: SentinelClient) -> RedisBuilder {
        RedisBuilder::new(Place::One(Source::Sentinel(Arc::new(AsyncMutex::new(client)))))
    }

    /// Whether the server can be reached and runs scripts for this client; looks for
    /// [evictions](Self::evictions), on each node of a cluster.
    pub async fn ready(&self) -> Result<(), Failure> {
        self.inner.load(&name::name(&self.inner.namespace, &"")).await?;
        self.inner.servers.look().await;
        Ok(())
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

    /// Forgets every key of this namespace, some at a time, so that the server goes on meanwhile. Keys that
    /// are used meanwhile may be forgotten or not. Each of its many calls has the deadline of one.
    pub async fn clear(&self) -> Result<(), Failure> {
        clear::clear(&self.inner.servers, &self.inner.namespace).await
    }

    /// Lets those calls end that are on their way, which each do by their deadline, and then ends the
    /// connection. Calls that come from now on fail with [`Closed`](traffik_core::ErrorKind::Closed), those
    /// of all clones. What is stored stays, unless the storage was made not to be
    /// [persistent](RedisBuilder::persistent): then the namespace is [cleared](Self::clear) last, and if that
    /// fails it is told so, and the storage is closed all the same.
    pub async fn close(&self) -> Result<(), Failure> {
        if !self.inner.gate.close().await {
            return Ok(());
        }
        let cleared = if self.inner.persistent { Ok(()) } else { self.clear().await };
        self.inner.servers.close();
        cleared
    }
}

impl RedisBuilder {
    fn new(place: Place) -> Self {
        let timeout = Duration::from_millis(500);
        let (warnings, max_waiting) = (warning::standard_error(), usize::MAX);
        let clock = None;
        Self { place, namespace: String::new(), timeout, clock, warnings, persistent: true, max_waiting }
    }

    setters! {
        /// The beginning of the names of all its keys, `traffik` if nothing is said. Storages with the same
        /// one share states.
        pub fn namespace(namespace: impl Into<String>) => namespace = namespace.into();

        /// How long a call may take, in however many steps, 500 ms if nothing is said; a year at most.
        pub const fn timeout(timeout: Duration) => timeout = timeout;

        /// The most that may wait for each key in [`until_ready`](traffik_core::AsyncLimiter::until_ready):
        /// whoever comes then is refused at once, with the time it would have taken. Defaults to no bound.
        pub const fn max_waiting(max: usize) => max_waiting = max;

        /// Whether states outlive the storage, which they do if nothing is said. If not,
        /// [`close`](RedisStorage::close) forgets all of the namespace, whoever else uses it; a storage that
        /// is dropped unclosed leaves it as it is.
        pub const fn persistent(persistent: bool) => persistent = persistent;

        /// Writes warnings by this function, which must not wait: a line each, and each but once. Defaults to
        /// standard error.
        pub fn on_warning(write: impl Fn(&str) + Send + Sync + 'static) => warnings = Arc::new(write);

        /// Goes by this clock instead of the server's: for tests, which then need not wait. What is stored is
        /// kept for a day at least.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));
    }

    /// The storage. It does not connect yet.
    pub fn build(self) -> Result<RedisStorage, Failure> {
        let Self { place, namespace, timeout, clock, warnings, persistent, max_waiting } = self;
        let namespace = namespace::settled(namespace, timeout)?;
        // Lets rustls use ring's cryptography, unless the program has chosen another, in which case this is
        // refused. Without any, rustls panics at the first connection.
        #[cfg(feature = "redis-tls")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        let servers = Servers::new(place, timeout.min(LONGEST), Evictions::new(warnings))?;
        let inner = Arc::new(Inner {
            servers,
            namespace,
            clock,
            persistent,
            wait_queue: FifoQueue::new().with_max(max_waiting),
            gate: ShutdownGate::default(),
        });
        Ok(RedisStorage { combining: Combining::new(inner.clone()), inner })
    }
}

impl<S: Strategy> AsyncStorage<S> for RedisStorage {
    /// A check of the strategies that the server knows takes one call, also of several as one; whatever else
    /// takes two, together with all that ask for the same key meanwhile, and as many more as others change
    /// it.
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let name = name::name(&self.inner.namespace, key);
        let (inner, combining, limit, op) = (self.inner.clone(), self.combining.clone(), limit.clone(), *op);
        Reply::pending(async move {
            let _inside = inner.gate.enter()?;
            let until = inner.servers.end();
            if let Op::Check(hit) = &op
                && let Some(verdict) = check::one(&inner, until, &limit, hit, &name).await?
            {
                return Ok(verdict);
            }
            // In a future of its own, which checks that take one call need no room for.
            Box::pin(combining.apply(limit, name, op).by(timer::until(until))).await
        })
    }

    /// In one call if the server knows the strategy and has all keys in one slot, as any server that is no
    /// cluster does.
    fn check_together(&self, limit: &S, keys: Keys<'_>, hit: &Hit<S::Cost>) -> Reply<Joint<S::Verdict>> {
        let names: Vec<_> = keys.iter().map(|key| name::name(&self.inner.namespace, *key)).collect();
        let (inner, limit, hit) = (self.inner.clone(), limit.clone(), *hit);
        if !name::are_distinct(&names) || (inner.servers.is_cluster() && !name::share_a_slot(&names)) {
            return Reply::ready(Ok(Joint::Unable));
        }
        Reply::pending(async move {
            let _inside = inner.gate.enter()?;
            let told = check::together(&inner, inner.servers.end(), &limit, &hit, &names).await?;
            Ok(told.map_or(Joint::Unable, Joint::AtOnce))
        })
    }

    fn load(&self, _: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (inner, name) = (self.inner.clone(), name::name(&self.inner.namespace, key));
        Reply::pending(async move {
            let _inside = inner.gate.enter()?;
            let loaded = inner.load(&name).await?;
            Ok((cas::state::<S>(loaded.bytes.as_deref()), loaded.now))
        })
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.inner.wait_queue)
    }
}

//! Which server a storage on Redis is on, and what it is like.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::lock::Mutex as AsyncMutex;
use redis::aio::MultiplexedConnection;
use redis::sentinel::SentinelClient;
use redis::{Client, IntoConnectionInfo, RedisError};
use traffik_core::storage::Failure;
use traffik_core::{Clock, debug_fields};

use super::RedisStorage;
use super::inner::Inner;
use super::link::Source;
use super::servers::{Place, Servers};
use crate::FifoQueue;
use crate::cas::Combining;
use crate::util::evictions::Evictions;
use crate::util::namespace;
use crate::util::setters::setters;
use crate::util::shutdown::ShutdownGate;
use crate::util::warning::{self, Writer};

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

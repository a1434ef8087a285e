//! Which server a storage on Redis is on, and what it is like.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionInfo, IntoConnectionInfo, RedisError};
use traffik_core::storage::{ErrorKind, Failure};
use traffik_core::{Clock, debug_fields};

use super::RedisStorage;
use super::connect::Source;
use super::inner::Inner;
use super::link::Budgets;
use super::servers::{Place, Servers};
use crate::FifoQueue;
use crate::cas::Combining;
use crate::util::corrupt::CorruptValues;
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
    connect_timeout: Duration,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
    warnings: Writer,
    persistent: bool,
    max_waiting: usize,
}

debug_fields!([] RedisBuilder: namespace, timeout, connect_timeout);

impl RedisStorage {
    /// A server by its address, such as `redis://user:password@host:6379/0`, or `rediss://` for TLS (feature
    /// `redis-tls`): with the roots that the operating system trusts, and ring's cryptography unless the
    /// program has installed other.
    pub fn url(url: &str) -> Result<RedisBuilder, RedisError> {
        Self::client(Client::open(url)?)
    }

    /// A server by a client of yours. Connections send without delay, whatever it says.
    pub fn client(client: Client) -> Result<RedisBuilder, RedisError> {
        let info = without_delay(client.get_connection_info().clone());
        Ok(RedisBuilder::new(Place::One(Source::Client(Box::new(Client::open(info)?)))))
    }

    /// A connection of yours. Once it is lost, all calls fail.
    ///
    /// Of a connection that was made elsewhere it cannot be seen whether a command was sent: where one
    /// breaks, more calls than else are reported as [`Timeout`](traffik_core::ErrorKind::Timeout).
    pub fn connection(connection: MultiplexedConnection) -> RedisBuilder {
        Self::factory(move || std::future::ready(Ok(connection.clone())))
    }

    /// Connections that you make, whenever one is needed. If that takes more than half a second the function
    /// is called once more, and the first connection to come is taken; all of them are given up when
    /// [connecting](RedisBuilder::connect_timeout) has taken too long. What is said of a
    /// [connection](Self::connection) holds here too.
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
        let nodes = nodes.into_iter().map(|node| Ok(without_delay(node.into_connection_info()?)));
        Ok(RedisBuilder::new(Place::Cluster(nodes.collect::<Result<_, RedisError>>()?)))
    }

    /// The master of a name that sentinels know. `master` is how it is connected to, with its name in the
    /// place of a host: `redis://user:password@mymaster/0`, or `rediss://` for TLS.
    ///
    /// All sentinels are asked at once, and the first answer counts. They are asked again every 250 ms as
    /// long as there is a connection, so that a master that was demoted is left soon after its sentinels
    /// know: it takes writes for another ten seconds, and all of them are lost.
    ///
    /// **Bound.** Sentinels know of a planned failover up to a second after the new master began. What the
    /// former one admits until it is left, within two seconds, is admitted beyond the limit; so is what had
    /// not been replicated when a master went down. `min-replicas-to-write 1` on the servers narrows that
    /// down.
    ///
    /// ```no_run
    /// use traffik_backends::RedisStorage;
    ///
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let sentinels = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"];
    /// let storage = RedisStorage::sentinel(sentinels, "redis://mymaster")?.build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if one of the addresses cannot be read. An empty list, or a master without a name, is refused by
    /// [`build`](RedisBuilder::build).
    pub fn sentinel<T: IntoConnectionInfo>(
        sentinels: impl IntoIterator<Item = T>,
        master: impl IntoConnectionInfo,
    ) -> Result<RedisBuilder, RedisError> {
        let sentinels = sentinels.into_iter().map(|sentinel| {
            let info = without_delay(sentinel.into_connection_info()?);
            Client::open(info)
        });
        let sentinels = sentinels.collect::<Result<_, RedisError>>()?;
        let master = without_delay(master.into_connection_info()?);
        Ok(RedisBuilder::new(Place::Sentinels(sentinels, Box::new(master))))
    }
}

impl RedisBuilder {
    fn new(place: Place) -> Self {
        Self {
            place,
            namespace: String::new(),
            timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(5),
            clock: None,
            warnings: warning::standard_error(),
            persistent: true,
            max_waiting: usize::MAX,
        }
    }

    setters! {
        /// The beginning of the names of all its keys, `traffik` if nothing is said. Storages with the same
        /// one share states.
        pub fn namespace(namespace: impl Into<String>) => namespace = namespace.into();

        /// How long a call may take, in however many steps. Defaults to 500 ms; a year at most.
        pub const fn timeout(timeout: Duration) => timeout = timeout;

        /// How long making a connection may take, which goes on in the background while calls fail by their
        /// own deadline. Defaults to 5 s; a year at most.
        pub const fn connect_timeout(timeout: Duration) => connect_timeout = timeout;

        /// The most that may wait for each key in [`until_ready`](traffik_core::AsyncLimiter::until_ready):
        /// whoever comes then is refused at once, with the time it would have taken. Defaults to no bound.
        pub const fn max_waiting(max: usize) => max_waiting = max;

        /// Whether states outlive the storage, which they do if nothing is said. If not,
        /// [`close`](RedisStorage::close) forgets all of the namespace, whoever else uses it; a storage that
        /// is dropped unclosed leaves it as it is.
        pub const fn persistent(persistent: bool) => persistent = persistent;

        /// Writes warnings by this function, which must not wait: a line for each. A fault of a server has
        /// one when it begins, and one when it has ended; all else is warned of once. Defaults to standard
        /// error.
        pub fn on_warning(write: impl Fn(&str) + Send + Sync + 'static) => warnings = Arc::new(write);

        /// Goes by this clock instead of the server's: for tests, which then need not wait. What is stored is
        /// kept for a day at least.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));
    }

    /// The storage. It does not connect yet.
    pub fn build(self) -> Result<RedisStorage, Failure> {
        let Self { place, namespace, timeout, connect_timeout, clock, warnings, persistent, max_waiting } =
            self;
        let namespace = namespace::settled(namespace, timeout)?;
        // Lets rustls use ring's cryptography, unless the program has chosen another, in which case this is
        // refused. Without any, rustls panics at the first connection.
        #[cfg(feature = "redis-tls")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        if connect_timeout.is_zero() {
            let message =
                "a server cannot be connected to in no time; take 5 s, or some round trips at least";
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        let budgets = Budgets { call: timeout.min(LONGEST), connect: connect_timeout.min(LONGEST) };
        let corrupt = CorruptValues::new("Redis", &namespace, warnings.clone());
        let servers = Servers::new(place, budgets, warnings)?;
        let inner = Arc::new(Inner {
            servers,
            namespace,
            clock,
            persistent,
            corrupt,
            wait_queue: FifoQueue::new().with_max(max_waiting),
            gate: ShutdownGate::default(),
        });
        Ok(RedisStorage { combining: Combining::new(inner.clone()), inner })
    }
}

/// A command is small, and waits for no other.
fn without_delay(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.tcp_settings().clone().set_nodelay(true);
    info.set_tcp_settings(settings)
}

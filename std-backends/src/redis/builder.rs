//! The options of a storage on Redis.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, Value};
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Clock, Timer, debug_fields};

use super::RedisStorage;
use super::budgets::Budgets;
use super::inner::Inner;
use super::net::{self, Tls};
use super::servers::{Access, Servers};
use super::transport::{Courier, Function, Sleep};
use crate::FifoQueue;
use crate::cas::Coalescing;
use crate::util::corrupt::CorruptValues;
use crate::util::namespace;
use crate::util::setters::setters;
use crate::util::shutdown::ShutdownGate;
use crate::util::warning::{self, LogWriter};

/// The longest that a call may take: until then there is a time to come on every clock.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What a [`RedisStorage`] is to be like.
#[must_use]
pub struct RedisBuilder {
    access: Access,
    timer: Option<Sleep>,
    pub(super) tls: Option<Tls>,
    namespace: String,
    timeout: Duration,
    connect_timeout: Duration,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
    warnings: LogWriter,
    persistent: bool,
    max_waiting: usize,
}

debug_fields!([] RedisBuilder: namespace, timeout, connect_timeout);

impl RedisStorage {
    /// A function of yours that sends a command and returns its answer, by whatever connections you have: no
    /// runtime is needed for it. With a runtime turned on, [`connection`](Self::connection) and
    /// [`pool`](Self::pool) do the same for the connections of the redis crate.
    ///
    /// The function is called once for each command of a call, of which there are up to three. It answers
    /// with an error of the kind `Client` if it sent nothing, as where a pool has no connection. Each call
    /// has its [deadline](RedisBuilder::timeout), by the runtime that it comes from or by a
    /// [timer](RedisBuilder::timer) of yours. What is weaker than on connections of the storage's own:
    ///
    /// * A call whose connection breaks fails with [`Timeout`](traffik_core::ErrorKind::Timeout), for the hit
    ///   may have been charged: whether it was sent is not seen, so nothing is sent again. Nor is a
    ///   connection replaced that is silent.
    /// * Timeouts and retries of your own come in addition. Whatever sends a command twice charges a hit
    ///   twice.
    /// * Servers have no names: [`nodes`](Self::nodes) returns one, and a breaker judges all servers
    ///   together. Of a cluster [`ready`](Self::ready) asks the server of one key, [`clear`](Self::clear)
    ///   fails, and [`evictions`](Self::evictions) counts none.
    ///
    /// Several keys are charged in one step where they are on one server. A cluster refuses that of keys that
    /// are not in one slot, and they are asked for one after another.
    ///
    /// ```no_run
    /// use traffik::RedisStorage;
    /// use traffik::reexport::redis::{Client, Cmd};
    /// use traffik::Timer;
    ///
    /// # async fn example(
    /// #     timer: impl Timer + Send + Sync + 'static,
    /// # ) -> Result<(), Box<dyn std::error::Error>> {
    /// let connection = Client::open("redis://127.0.0.1")?.get_multiplexed_async_connection().await?;
    /// let send = move |command: Cmd| {
    ///     let mut connection = connection.clone();
    ///     async move { command.query_async(&mut connection).await }
    /// };
    /// let storage = RedisStorage::commands(send).timer(timer).namespace("api").build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn commands<F>(send: impl Fn(Cmd) -> F + Send + Sync + 'static) -> RedisBuilder
    where
        F: Future<Output = Result<Value, RedisError>> + Send + 'static,
    {
        RedisBuilder::carried(Arc::new(Function(send)))
    }
}

impl RedisBuilder {
    pub(super) fn new(access: Access) -> Self {
        Self {
            access,
            timer: None,
            tls: None,
            namespace: String::new(),
            timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(5),
            clock: None,
            warnings: warning::standard_error(),
            persistent: true,
            max_waiting: usize::MAX,
        }
    }

    /// A builder of a storage on connections of the user's.
    pub(super) fn carried(courier: Arc<dyn Courier>) -> Self {
        Self::new(Access::Courier(courier))
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
        /// one that comes then is refused at once, with the time it would have taken. Defaults to no bound.
        pub const fn max_waiting(max: usize) => max_waiting = max;

        /// Whether states outlive the storage, which they do if nothing is said. If not,
        /// [`close`](RedisStorage::close) forgets all of the namespace, whoever else uses it; a storage that
        /// is dropped unclosed leaves it as it is.
        pub const fn persistent(persistent: bool) => persistent = persistent;

        /// Writes warnings by this function, which must not wait: a line for each. A fault of a server has
        /// one when it begins, and one when it has ended; all else is warned of once. Defaults to standard
        /// error.
        pub fn on_warning(write: impl Fn(&str) + Send + Sync + 'static) => warnings = Arc::new(write);

        /// Waits by this timer, such as a runtime of `traffik::runtime`: for a storage on
        /// [connections of yours](RedisStorage::commands). Defaults to the runtime that a call comes from,
        /// where the feature `tokio` or `smol` is turned on, and is needed without. Connections of the
        /// storage's own wait on the runtime that they are on, and take none.
        pub fn timer(timer: impl Timer + Send + Sync + 'static) => timer = Some(Sleep::by(timer));

        /// Goes by this clock instead of the server's: for tests, which then need not wait. What is stored is
        /// kept for a day at least.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));
    }

    /// The storage. It does not connect yet.
    ///
    /// # Errors
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) if an option cannot be, or is of no use for the servers or
    /// the connections that were given.
    pub fn build(self) -> Result<RedisStorage, BackendError> {
        let Self { access, timer, tls, namespace, timeout, connect_timeout, .. } = self;
        let Self { clock, warnings, persistent, max_waiting, .. } = self;
        let namespace = namespace::settled(namespace, timeout)?;
        net::prepare();
        let of_no_use = match &access {
            _ if connect_timeout.is_zero() => {
                Some("a server cannot be connected to in no time; take 5 s, or some round trips at least")
            }
            Access::Net(_) if timer.is_some() => {
                Some("connections of the storage's own wait on their runtime; leave out RedisBuilder::timer")
            }
            Access::Courier(_) if tls.is_some() => {
                Some("a connection of yours has TLS of its own or none; leave out RedisBuilder::tls")
            }
            _ => None,
        };
        if let Some(words) = of_no_use {
            return Err(BackendError::new(ErrorKind::Invalid, words));
        }
        let budgets = Budgets { call: timeout.min(LONGEST), connect: connect_timeout.min(LONGEST) };
        let corrupt = CorruptValues::new("Redis", &namespace, warnings.clone());
        let servers = Servers::new(access, (timer, tls.unwrap_or_default()), budgets, warnings)?;
        let inner = Arc::new(Inner {
            servers,
            namespace,
            clock,
            persistent,
            corrupt,
            wait_queue: FifoQueue::new().with_max(max_waiting),
            gate: ShutdownGate::default(),
        });
        Ok(RedisStorage { combining: Coalescing::new(inner.clone()), inner })
    }
}

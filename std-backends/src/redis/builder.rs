//! The options of a storage on Redis.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, Value};
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Clock, Timer, debug_fields};

use super::RedisStorage;
use super::budgets::Budgets;
use super::inner::RedisInner;
use super::net::{self, Tls};
use super::servers::{ServerAccess, Servers};
use super::transport::{CommandFn, CommandSender, UserTimer};
use crate::FifoQueue;
use crate::cas::Coalescing;
use crate::util::corrupt::CorruptValues;
use crate::util::namespace;
use crate::util::setters::setters;
use crate::util::shutdown::ShutdownGate;
use crate::util::warning::{self, LogWriter};

/// The longest timeout: one that any clock can add to its present.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// The options of a [`RedisStorage`], from [`url`](RedisStorage::url) or another constructor. Use it to set a
/// namespace or deadlines; the defaults suit a server in the same network.
///
/// ```
/// use std::time::Duration;
/// use traffik::RedisStorage;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let builder = RedisStorage::url("redis://user:secret@10.0.0.7:6379/0")?;
/// let storage = builder.namespace("api").timeout(Duration::from_millis(100)).build()?;
/// assert_eq!(storage.nodes().len(), 1); // nothing has connected yet, so it has no fault
///
/// assert!(RedisStorage::url("redis://10.0.0.7")?.timeout(Duration::ZERO).build().is_err());
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RedisBuilder {
    access: ServerAccess,
    timer: Option<UserTimer>,
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
    /// Starts a builder from a function that sends a command and returns its answer, over any connection of
    /// yours. It needs no runtime feature. With one, [`connection`](Self::connection) and
    /// [`pool`](Self::pool) do the same for the connections of the redis crate.
    ///
    /// The storage calls the function once for each command. A step on the server takes one command, or three
    /// if the server does not know the script yet. The function must return an error of the kind `Client` if
    /// it sent nothing, for example because a pool has no connection. Each call has its
    /// [deadline](RedisBuilder::timeout), by the runtime that it runs on or by a [timer](RedisBuilder::timer)
    /// of yours. These guarantees are weaker than on the storage's own connections:
    ///
    /// * A call whose connection breaks fails with [`Timeout`](traffik_core::ErrorKind::Timeout), since the
    ///   hit may have been charged. The storage cannot see whether it was sent, so it sends nothing again.
    ///   Nor does it replace a silent connection.
    /// * Timeouts and retries of your connections apply as well. A connection that sends a command twice
    ///   charges a hit twice.
    /// * Servers have no names: [`nodes`](Self::nodes) returns one entry, and a breaker judges all servers
    ///   together. For a cluster, [`ready`](Self::ready) asks the server of one key, [`clear`](Self::clear)
    ///   fails, and [`evictions`](Self::evictions) stays 0.
    ///
    /// Several keys are charged in one step where they are on one server. A cluster refuses keys of several
    /// slots, which are then checked one after another.
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
        RedisBuilder::carried(Arc::new(CommandFn(send)))
    }
}

impl RedisBuilder {
    pub(super) fn new(access: ServerAccess) -> Self {
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

    /// Starts a builder for a storage on the user's connections.
    pub(super) fn carried(sender: Arc<dyn CommandSender>) -> Self {
        Self::new(ServerAccess::User(sender))
    }

    setters! {
        /// Sets the prefix of all key names: 1 to 64 letters, digits or `.:_-@/`. Defaults to `traffik`.
        /// Storages with the same namespace share states.
        pub fn namespace(namespace: impl Into<String>) => namespace = namespace.into();

        /// Sets the longest time that a call may take, over all its round trips. Defaults to 500 ms. Longer
        /// times than a year count as a year.
        pub const fn timeout(timeout: Duration) => timeout = timeout;

        /// Sets the longest time that an attempt to connect may take. It continues in the background when a
        /// call that waits for it fails by its own deadline. Defaults to 5 s. Longer times than a year count
        /// as a year.
        pub const fn connect_timeout(timeout: Duration) => connect_timeout = timeout;

        /// Sets the most callers that may wait for each key in
        /// [`until_ready`](traffik_core::AsyncLimiter::until_ready). A caller beyond that fails at once, with
        /// the wait that it would have had. Defaults to no bound.
        pub const fn max_waiting(max: usize) => max_waiting = max;

        /// Sets whether states outlive the storage. Defaults to `true`. If `false`,
        /// [`close`](RedisStorage::close) forgets the whole namespace, also for other storages that use it.
        /// Dropping a storage without closing it forgets nothing.
        pub const fn persistent(persistent: bool) => persistent = persistent;

        /// Sets the function that writes warnings, one line each. It must not block. A fault of a server has
        /// one line when it begins and one when it has ended; any other warning is written once. Defaults to
        /// standard error.
        pub fn on_warning(write: impl Fn(&str) + Send + Sync + 'static) => warnings = Arc::new(write);

        /// Sets the timer, such as a runtime of `traffik::runtime`, for a storage on [connections of
        /// yours](RedisStorage::commands). Defaults to the runtime that a call runs on (feature `tokio` or
        /// `smol`), and is required without these features. The storage's own connections wait on their
        /// runtime and take no timer.
        pub fn timer(timer: impl Timer + Send + Sync + 'static) => timer = Some(UserTimer::by(timer));

        /// Sets a clock that replaces the server's, for tests that must not wait. States are then kept for a
        /// day at least. Defaults to the server's clock.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));
    }

    /// Builds the storage. It connects on first use, so this does not wait.
    ///
    /// # Errors
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) if the namespace has other characters or another length, a
    /// timeout is 0, no server or master is named, calls have no timer, or an option does not apply to the
    /// given servers or connections.
    pub fn build(self) -> Result<RedisStorage, BackendError> {
        let Self { access, timer, tls, namespace, timeout, connect_timeout, .. } = self;
        let Self { clock, warnings, persistent, max_waiting, .. } = self;
        let namespace = namespace::checked(namespace, timeout)?;
        net::prepare();
        let refusal = match &access {
            _ if connect_timeout.is_zero() => {
                Some("a connect_timeout of 0 s never connects; set 5 s, or a few round trips at least")
            }
            ServerAccess::Net(_) if timer.is_some() => {
                Some("a storage that makes its own connections needs no timer; remove RedisBuilder::timer")
            }
            ServerAccess::User(_) if tls.is_some() => Some(
                "TLS cannot be added to a connection of yours; connect by TLS, and remove RedisBuilder::tls",
            ),
            _ => None,
        };
        if let Some(words) = refusal {
            return Err(BackendError::new(ErrorKind::Invalid, words));
        }
        let budgets = Budgets { call: timeout.min(LONGEST), connect: connect_timeout.min(LONGEST) };
        let corrupt = CorruptValues::new("Redis", &namespace, warnings.clone());
        let servers = Servers::new(access, (timer, tls.unwrap_or_default()), budgets, warnings)?;
        let inner = Arc::new(RedisInner {
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

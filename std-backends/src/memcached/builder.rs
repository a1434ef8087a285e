//! The options of a storage on Memcached.

use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Clock, debug_fields};
use traffik_runtimes::Connect;

use super::address::Address;
use super::clock::{ServerClock, SteadyClock};
use super::flood::Floods;
use super::generation::Generation;
use super::host::Host;
use super::items::Items;
use super::list::ServerList;
use super::pool::{Pool, PoolSettings};
use super::server::Server;
use super::{MemcachedStorage, name};
use crate::FifoQueue;
use crate::cas::Coalescing;
use crate::util::corrupt::CorruptValues;
use crate::util::evictions::{EvictionWatch, Evictions};
use crate::util::faults::Faults;
use crate::util::namespace;
use crate::util::setters::setters;
use crate::util::shutdown::ShutdownGate;
use crate::util::warning::{self, LogWriter, Warning};

/// The options of a [`MemcachedStorage`], from [`servers`](MemcachedStorage::servers) or
/// [`url`](MemcachedStorage::url). Use it to set a namespace or deadlines; the defaults suit servers in the
/// same network.
///
/// ```
/// use std::time::Duration;
/// use traffik::MemcachedStorage;
/// # use traffik::runtime::Connect;
///
/// # fn example(runtime: impl Connect) -> Result<(), traffik::storage::BackendError> {
/// let servers = ["cache-a=10.0.0.7:11211", "cache-b=10.0.0.8:11211"];
/// let builder = MemcachedStorage::servers(runtime, servers).namespace("api");
/// let storage = builder.timeout(Duration::from_millis(100)).max_connections(32).build()?;
/// assert_eq!(storage.nodes().len(), 2); // by name, and none of them has a fault yet
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct MemcachedBuilder<R> {
    runtime: R,
    addresses: Vec<String>,
    namespace: String,
    settings: PoolSettings,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
    host: Option<Arc<dyn Clock + Send + Sync>>,
    warnings: LogWriter,
    max_waiting: usize,
    persistent: bool,
}

impl<R: Connect> MemcachedStorage<R> {
    /// Starts a builder from server addresses, such as `cache.internal:11211`, `10.0.0.7` or `[::1]:11211`.
    ///
    /// The port defaults to 11211. An address may have a name before it, as in `cache-a=10.0.0.7`. Each key
    /// is kept on one server, which is the same for all storages that name the same servers, in any order.
    /// [`build`](MemcachedBuilder::build) reads the addresses.
    pub fn servers(runtime: R, addresses: impl IntoIterator<Item: Into<String>>) -> MemcachedBuilder<R> {
        MemcachedBuilder {
            runtime,
            addresses: addresses.into_iter().map(Into::into).collect(),
            namespace: String::new(),
            settings: PoolSettings {
                size: 16,
                minimum: 1,
                idle: Duration::from_secs(60),
                connect_timeout: Duration::from_secs(5),
                timeout: Duration::from_millis(500),
            },
            clock: None,
            host: None,
            warnings: warning::standard_error(),
            max_waiting: usize::MAX,
            persistent: true,
        }
    }

    /// Starts a builder from a URL of all servers: `memcached://one:11211,other:11211`.
    ///
    /// # Errors
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) if the text does not begin with `memcached://`, names no
    /// server, or has a path, a user or a query. [`build`](MemcachedBuilder::build) reads the addresses
    /// themselves.
    pub fn url(runtime: R, url: &str) -> Result<MemcachedBuilder<R>, BackendError> {
        let hosts = url.strip_prefix("memcached://").map(|rest| rest.trim_end_matches('/'));
        let Some(hosts) = hosts.filter(|hosts| !hosts.is_empty() && !hosts.contains(['/', '@', '?'])) else {
            let message = format!(
                "{url:?} names no servers; write memcached://HOST:PORT, or memcached://HOST:PORT,HOST:PORT"
            );
            return Err(BackendError::new(ErrorKind::Invalid, message));
        };
        Ok(Self::servers(runtime, hosts.split(',')))
    }
}

impl<R: Connect> MemcachedBuilder<R> {
    setters! {
        /// Sets the prefix of all item names: 1 to 64 letters, digits or `.:_-@/`. Defaults to `traffik`.
        /// Storages with the same namespace share states.
        pub fn namespace(namespace: impl Into<String>) => namespace = namespace.into();

        /// Sets the longest time that a call may take, including the wait for a connection. Defaults to
        /// 500 ms.
        pub const fn timeout(timeout: Duration) => settings.timeout = timeout;

        /// Sets the budget of one attempt to connect. Defaults to 5 s.
        ///
        /// An attempt continues in the background after the call that started it has failed by its own
        /// [`timeout`](Self::timeout), and serves a later call. If it has no result after 500 ms, another
        /// attempt may start beside it.
        pub const fn connect_timeout(budget: Duration) => settings.connect_timeout = budget;

        /// Sets the most connections to each server. Defaults to 16. A connection serves one call at a time;
        /// a call that finds none free waits for its turn.
        pub const fn max_connections(most: usize) => settings.size = most;

        /// Sets how many connections to each server stay open while idle. Defaults to 1.
        /// [`ready`](MemcachedStorage::ready) begins to open them.
        pub const fn min_idle(least: usize) => settings.minimum = least;

        /// Sets how long connections beyond [`min_idle`](Self::min_idle) may be idle. Defaults to a minute.
        /// The storage closes those that were idle for longer when a call returns a connection.
        pub const fn idle_timeout(timeout: Duration) => settings.idle = timeout;

        /// Sets the most callers that may wait for each key in
        /// [`until_ready`](traffik_core::AsyncLimiter::until_ready). A caller beyond that fails at once, with
        /// the wait that it would have had. Defaults to no bound.
        pub const fn max_waiting(max: usize) => max_waiting = max;

        /// Sets whether states outlive the storage. Defaults to `true`. If `false`,
        /// [`close`](MemcachedStorage::close) forgets the whole namespace, also for other storages that use
        /// it. Dropping a storage without closing it forgets nothing.
        pub const fn persistent(persistent: bool) => persistent = persistent;

        /// Sets a clock that replaces the servers', for tests that must not wait. States are then kept for a
        /// day at least. Defaults to the servers' clocks.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));

        /// Sets the host's clock, which carries the servers' time on between answers: for tests of hosts
        /// whose clocks differ or step. Defaults to the operating system's monotonic clock.
        pub fn host_clock(clock: impl Clock + Send + Sync + 'static) => host = Some(Arc::new(clock));

        /// Sets the function that writes warnings, one line each. It must not block. The storage warns once
        /// of anything that the operator has to change, and when the fault of a server begins and ends.
        /// Defaults to standard error.
        pub fn on_warning(write: impl Fn(&str) + Send + Sync + 'static) => warnings = Arc::new(write);
    }

    /// Builds the storage. It connects on first use, so this does not wait.
    ///
    /// # Errors
    ///
    /// Fails with [`Invalid`](ErrorKind::Invalid) if no server is given, an address or a name cannot be read
    /// or is given twice, the namespace has other characters or another length, a timeout is 0, no connection
    /// is allowed, or more are kept than allowed.
    pub fn build(self) -> Result<MemcachedStorage<R>, BackendError> {
        fn invalid<T>(message: String) -> Result<T, BackendError> {
            Err(BackendError::new(ErrorKind::Invalid, message))
        }
        let namespace = namespace::checked(self.namespace, self.settings.timeout)?;
        let PoolSettings { size, minimum, connect_timeout, .. } = self.settings;
        if size == 0 {
            return invalid("a max_connections of 0 serves no call; set 16".to_owned());
        }
        if minimum > size {
            return invalid(format!(
                "a min_idle of {minimum} is above the max_connections of {size}; set at most {size}"
            ));
        }
        if connect_timeout.is_zero() {
            return invalid("a connect_timeout of 0 s never connects; set 5 s".to_owned());
        }
        let addresses = self.addresses.iter().map(|text| Address::parse(text));
        let mut addresses = addresses.collect::<Result<Vec<_>, _>>().or_else(invalid)?;
        if addresses.is_empty() {
            return invalid("no server is named; name one, such as 127.0.0.1:11211".to_owned());
        }
        addresses.sort_by(|one, other| one.canonical.cmp(&other.canonical));
        if let Some((twice, _)) = pairs(&addresses).find(|(one, it)| one.canonical == it.canonical) {
            return invalid(format!("{} is named twice; name each server once", twice.canonical));
        }
        addresses.sort_by(|one, other| one.name.cmp(&other.name));
        if let Some((twice, _)) = pairs(&addresses).find(|(one, it)| one.name == it.name) {
            return invalid(format!("two servers are named {}; give each its own name", twice.name));
        }
        let Self { runtime, settings, clock, host, warnings, max_waiting, persistent, .. } = self;
        let host = host.unwrap_or_else(|| Arc::new(SteadyClock::default()));
        let corrupt = CorruptValues::new("Memcached", &namespace, warnings.clone());
        let timeless = Arc::new(Warning::new(warnings.clone()));
        let evictions = Evictions::new(warnings.clone());
        let names: Vec<_> = addresses.iter().map(|address| address.name.clone()).collect();
        let list = Arc::new(ServerList::new(&namespace, &names, warnings.clone()));
        let item = name::other(&namespace, "generation", "");
        let servers = addresses.into_iter().map(|address| {
            let title = address.title();
            let host = Host {
                faults: Faults::new(title.clone(), warnings.clone()),
                title,
                item: item.clone(),
                generation: Generation::default(),
                clock: ServerClock::new(host.clone()),
                timeless: timeless.clone(),
                evictions: EvictionWatch::new(evictions.clone()),
                list: list.clone(),
            };
            Arc::new(Server::new(address.name, Pool::new(runtime.clone(), address.dialed, settings, host)))
        });
        let servers = servers.collect();
        let wait_queue = FifoQueue::new().with_max(max_waiting);
        let (floods, gate) = (Floods::default(), ShutdownGate::default());
        let items = Arc::new(Items {
            runtime,
            servers,
            namespace,
            timeout: settings.timeout,
            clock,
            wait_queue,
            floods,
            gate,
            corrupt,
        });
        Ok(MemcachedStorage { combining: Coalescing::new(items.clone()), items, evictions, persistent })
    }
}

/// Returns each address with the next one.
fn pairs(addresses: &[Address]) -> impl Iterator<Item = (&Address, &Address)> {
    addresses.iter().zip(addresses.iter().skip(1))
}

debug_fields!([R] MemcachedBuilder<R>: addresses, namespace, settings);

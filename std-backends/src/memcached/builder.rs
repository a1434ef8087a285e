//! What a storage on Memcached is to be like.

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
use super::pool::{Pool, Settings};
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

/// What a [`MemcachedStorage`] is to be like.
#[must_use]
pub struct MemcachedBuilder<R> {
    runtime: R,
    addresses: Vec<String>,
    namespace: String,
    settings: Settings,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
    host: Option<Arc<dyn Clock + Send + Sync>>,
    warnings: LogWriter,
    max_waiting: usize,
    persistent: bool,
}

impl<R: Connect> MemcachedStorage<R> {
    /// Servers by their addresses, such as `cache.internal:11211`, `10.0.0.7` or `[::1]:11211`; without a
    /// port it is 11211. Each may have a name before it, as in `cache-a=10.0.0.7`. Each key is kept on one of
    /// them, the same for all who name the same servers, in whatever order.
    pub fn servers(runtime: R, addresses: impl IntoIterator<Item: Into<String>>) -> MemcachedBuilder<R> {
        MemcachedBuilder {
            runtime,
            addresses: addresses.into_iter().map(Into::into).collect(),
            namespace: String::new(),
            settings: Settings {
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

    /// The same in one text: `memcached://one:11211,other:11211`.
    pub fn url(runtime: R, url: &str) -> Result<MemcachedBuilder<R>, BackendError> {
        let hosts = url.strip_prefix("memcached://").map(|rest| rest.trim_end_matches('/'));
        let Some(hosts) = hosts.filter(|hosts| !hosts.is_empty() && !hosts.contains(['/', '@', '?'])) else {
            let message =
                format!("{url:?} names no servers; write memcached://HOST:PORT, several with commas");
            return Err(BackendError::new(ErrorKind::Invalid, message));
        };
        Ok(Self::servers(runtime, hosts.split(',')))
    }
}

impl<R: Connect> MemcachedBuilder<R> {
    setters! {
        /// The beginning of the names of all its items, `traffik` if nothing is said. Storages with the same
        /// one share states.
        pub fn namespace(namespace: impl Into<String>) => namespace = namespace.into();

        /// Sets how long a call may take, waiting for a connection included. Defaults to 500 ms.
        pub const fn timeout(timeout: Duration) => settings.timeout = timeout;

        /// Sets the budget of an attempt to connect, which defaults to 5 s.
        ///
        /// An attempt goes on in the background when the call that began it has failed by its own
        /// [`timeout`](Self::timeout), and serves a later call. After half a second without a result another
        /// one may begin beside it.
        pub const fn connect_timeout(budget: Duration) => settings.connect_timeout = budget;

        /// How many connections to each server there may be at most, 16 if nothing is said. One call at a
        /// time uses each; who finds none free waits for its turn.
        pub const fn connections(most: usize) => settings.size = most;

        /// Sets how many connections to each server are kept also if nobody uses them, and begun by
        /// [`ready`](MemcachedStorage::ready). Defaults to 1.
        pub const fn kept(least: usize) => settings.minimum = least;

        /// After how long the other connections are given up if nobody uses them, a minute if nothing is
        /// said. That is seen to when others are used.
        pub const fn idle(idle: Duration) => settings.idle = idle;

        /// The most that may wait for each key in [`until_ready`](traffik_core::AsyncLimiter::until_ready):
        /// one that comes then is refused at once, with the time it would have taken. Defaults to no bound.
        pub const fn max_waiting(max: usize) => max_waiting = max;

        /// Whether states outlive the storage, which they do if nothing is said. If not,
        /// [`close`](MemcachedStorage::close) forgets all of the namespace, whoever else uses it; a storage
        /// that is dropped unclosed leaves it as it is.
        pub const fn persistent(persistent: bool) => persistent = persistent;

        /// Goes by this clock instead of the servers': for tests, which then need not wait. Keeps states
        /// for a day at least.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));

        /// Carries the servers' time on by this clock of the host, instead of the operating system's
        /// monotonic one: for tests of hosts whose clocks differ, or step.
        pub fn host_clock(clock: impl Clock + Send + Sync + 'static) => host = Some(Arc::new(clock));

        /// Writes warnings by this function, which must not wait, a line each: once what the operator has to
        /// change, and when the fault of a server begins and ends. Defaults to standard error.
        pub fn on_warning(write: impl Fn(&str) + Send + Sync + 'static) => warnings = Arc::new(write);
    }

    /// The storage. It does not connect yet.
    pub fn build(self) -> Result<MemcachedStorage<R>, BackendError> {
        fn invalid<T>(message: String) -> Result<T, BackendError> {
            Err(BackendError::new(ErrorKind::Invalid, message))
        }
        let namespace = namespace::settled(self.namespace, self.settings.timeout)?;
        let Settings { size, minimum, connect_timeout, .. } = self.settings;
        if size == 0 || minimum > size {
            return invalid(format!("{minimum} connections cannot be kept of at most {size}; take 1 of 16"));
        }
        if connect_timeout.is_zero() {
            return invalid("a connect_timeout of 0 never connects; take 5 s".to_owned());
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
            return invalid(format!("two servers are called {}; name each server once", twice.name));
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

/// Each address with the next one.
fn pairs(addresses: &[Address]) -> impl Iterator<Item = (&Address, &Address)> {
    addresses.iter().zip(addresses.iter().skip(1))
}

debug_fields!([R] MemcachedBuilder<R>: addresses, namespace, settings);

//! What a storage on Memcached is to be like.

use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{ErrorKind, Failure};
use traffik_core::{Clock, debug_fields};
use traffik_runtimes::Connect;

use super::clock::{ServerClock, SteadyClock};
use super::flood::Floods;
use super::items::Items;
use super::pool::{Pool, Settings};
use super::server::Server;
use super::{MemcachedStorage, name};
use crate::FifoQueue;
use crate::cas::Combining;
use crate::util::corrupt::CorruptValues;
use crate::util::evictions::{EvictionWatch, Evictions};
use crate::util::namespace;
use crate::util::setters::setters;
use crate::util::shutdown::ShutdownGate;
use crate::util::warning::{self, Warning, Writer};

/// The port that servers listen on if nothing is said.
const PORT: &str = "11211";

/// What a [`MemcachedStorage`] is to be like.
#[must_use]
pub struct MemcachedBuilder<R> {
    runtime: R,
    addresses: Vec<String>,
    namespace: String,
    timeout: Duration,
    settings: Settings,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
    host: Option<Arc<dyn Clock + Send + Sync>>,
    warnings: Writer,
    max_waiting: usize,
    persistent: bool,
}

impl<R: Connect> MemcachedStorage<R> {
    /// Servers by their addresses, such as `cache.internal:11211`, `10.0.0.7` or `[::1]:11211`; without a
    /// port it is 11211. Each key is kept on one of them, the same for all who name the same servers, in
    /// whatever order.
    pub fn servers(runtime: R, addresses: impl IntoIterator<Item: Into<String>>) -> MemcachedBuilder<R> {
        MemcachedBuilder {
            runtime,
            addresses: addresses.into_iter().map(|address| with_port(&address.into())).collect(),
            namespace: String::new(),
            timeout: Duration::from_millis(500),
            settings: Settings { size: 16, minimum: 1, idle: Duration::from_secs(60) },
            clock: None,
            host: None,
            warnings: warning::standard_error(),
            max_waiting: usize::MAX,
            persistent: true,
        }
    }

    /// The same in one text: `memcached://one:11211,other:11211`.
    pub fn url(runtime: R, url: &str) -> Result<MemcachedBuilder<R>, Failure> {
        let hosts = url.strip_prefix("memcached://").map(|rest| rest.trim_end_matches('/'));
        let Some(hosts) = hosts.filter(|hosts| !hosts.is_empty() && !hosts.contains(['/', '@', '?'])) else {
            let message =
                format!("{url:?} names no servers; write memcached://HOST:PORT, several with commas");
            return Err(Failure::new(ErrorKind::Invalid, message));
        };
        Ok(Self::servers(runtime, hosts.split(',')))
    }
}

impl<R: Connect> MemcachedBuilder<R> {
    setters! {
        /// The beginning of the names of all its items, `traffik` if nothing is said. Storages with the same
        /// one share states.
        pub fn namespace(namespace: impl Into<String>) => namespace = namespace.into();

        /// How long a call may take, connecting and waiting for a connection included: 500 ms if nothing is
        /// said.
        pub const fn timeout(timeout: Duration) => timeout = timeout;

        /// How many connections to each server there may be at most, 16 if nothing is said. One call at a
        /// time uses each; who finds none free waits for its turn.
        pub const fn connections(most: usize) => settings.size = most;

        /// How many connections to each server are kept also if nobody uses them, and made by
        /// [`ready`](MemcachedStorage::ready): 1 if nothing is said.
        pub const fn kept(least: usize) => settings.minimum = least;

        /// After how long the other connections are given up if nobody uses them, a minute if nothing is
        /// said. That is seen to when others are used.
        pub const fn idle(idle: Duration) => settings.idle = idle;

        /// The most that may wait for each key in [`until_ready`](traffik_core::AsyncLimiter::until_ready):
        /// whoever comes then is refused at once, with the time it would have taken. Defaults to no bound.
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

        /// Writes warnings by this function, which must not wait: a line each, and each but once. Defaults to
        /// standard error.
        pub fn on_warning(write: impl Fn(&str) + Send + Sync + 'static) => warnings = Arc::new(write);
    }

    /// The storage. It does not connect yet.
    pub fn build(mut self) -> Result<MemcachedStorage<R>, Failure> {
        let namespace = namespace::settled(self.namespace, self.timeout)?;
        let invalid = |message: String| Err(Failure::new(ErrorKind::Invalid, message));
        let Settings { size, minimum, .. } = self.settings;
        if size == 0 || minimum > size {
            return invalid(format!("{minimum} connections cannot be kept of at most {size}; take 1 of 16"));
        }
        if self.addresses.is_empty() {
            return invalid("no server is named; name one, such as 127.0.0.1:11211".to_owned());
        }
        self.addresses.sort();
        if let Some([twice, _]) = self.addresses.array_windows().find(|[one, other]| one == other) {
            return invalid(format!("{twice} is named twice; name each server once"));
        }
        let Self {
            runtime,
            addresses,
            timeout,
            settings,
            clock,
            host,
            warnings,
            max_waiting,
            persistent,
            ..
        } = self;
        let host = host.unwrap_or_else(|| Arc::new(SteadyClock::default()));
        let corrupt = CorruptValues::new("Memcached", &namespace, warnings.clone());
        let (timeless, evictions) = (Arc::new(Warning::new(warnings.clone())), Evictions::new(warnings));
        let servers = addresses.into_iter().map(|address| {
            let pool = Pool::new(runtime.clone(), address, settings);
            let clock = ServerClock::new(host.clone());
            Server::new(pool, clock, timeless.clone(), EvictionWatch::new(evictions.clone()))
        });
        let servers = servers.collect();
        let wait_queue = FifoQueue::new().with_max(max_waiting);
        let (generation, floods) = (name::other(&namespace, "generation", ""), Floods::default());
        let gate = ShutdownGate::default();
        let items = Arc::new(Items {
            runtime,
            servers,
            namespace,
            generation,
            timeout,
            clock,
            wait_queue,
            floods,
            gate,
            corrupt,
        });
        Ok(MemcachedStorage { combining: Combining::new(items.clone()), items, evictions, persistent })
    }
}

debug_fields!([R] MemcachedBuilder<R>: addresses, namespace, timeout);

fn with_port(address: &str) -> String {
    let is_bracketed = address.starts_with('[');
    match address.matches(':').count() {
        // Several colons and no brackets are an address of IPv6 alone.
        2.. if !is_bracketed => format!("[{address}]:{PORT}"),
        1.. if !address.ends_with(']') => address.to_owned(),
        _ => format!("{address}:{PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_where_there_is_none() {
        for (told, meant) in [
            ("cache", "cache:11211"),
            ("cache:7", "cache:7"),
            ("10.0.0.7", "10.0.0.7:11211"),
            ("::1", "[::1]:11211"),
            ("[::1]", "[::1]:11211"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(with_port(told), meant);
        }
    }
}

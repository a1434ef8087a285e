//! The items of a namespace, each on its server, as a compare-and-swap store.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Class, Clock, Strategy, Timestamp};
use traffik_runtimes::Connect;

use super::command::StoreCommand;
use super::expiry::{SPARE, STATE_SPARE, expiry};
use super::flood::Floods;
use super::meta::{LoadCommand, RemoveCommand};
use super::server::{End, Server};
use super::{name, window};
use crate::FifoQueue;
use crate::cas::{CompareAndSwap, Versioned, Write};
use crate::util::corrupt::CorruptValues;
use crate::util::shutdown::ShutdownGate;

/// The items of one namespace, and the parts of a storage that its calls share.
pub(super) struct Items<R: Connect> {
    pub(super) runtime: R,
    pub(super) servers: Vec<Arc<Server<R>>>,
    pub(super) namespace: String,
    pub(super) timeout: Duration,
    /// The clock that replaces the servers', in tests.
    pub(super) clock: Option<Arc<dyn Clock + Send + Sync>>,
    pub(super) wait_queue: FifoQueue,
    pub(super) floods: Floods,
    pub(super) gate: ShutdownGate,
    pub(super) corrupt: CorruptValues,
}

/// The version of an item as it was loaded, with which a swap is compared.
pub(super) struct ItemVersion {
    /// The item's name in the generation that it was loaded in.
    name: String,
    /// The CAS version of its contents; `None` if there was no item.
    unique: Option<u64>,
}

impl<R: Connect> Items<R> {
    /// Returns the server that keeps a key: the one with the highest weight, so that few keys move when a
    /// server is added or removed.
    ///
    /// # Errors
    ///
    /// Fails if there is no server, which a builder refuses.
    pub(super) fn server(&self, escaped: &str) -> Result<&Arc<Server<R>>, BackendError> {
        if let [only] = &self.servers[..] {
            return Ok(only);
        }
        let heaviest = self.servers.iter().max_by_key(|server| server.weight(escaped));
        // The builder refuses an empty list.
        heaviest.ok_or_else(|| BackendError::new(ErrorKind::Invalid, "no server is named"))
    }

    /// Reads the generation of a server again, with the time of one call from now.
    pub(super) async fn refreshed_generation(&self, server: &Arc<Server<R>>) -> Result<u64, BackendError> {
        server.refresh_generation(false, pin!(self.end())).await
    }

    /// Loads the item of a key in a generation.
    async fn load_in(
        &self,
        server: &Server<R>,
        generation: u64,
        escaped: &str,
        end: End<'_>,
    ) -> Result<Versioned<ItemVersion>, BackendError> {
        let name = self.name(generation, escaped);
        let found = server.call(LoadCommand(&name), end).await?;
        let (unique, rest) = (found.as_ref().map(|item| item.unique), found.as_ref().and_then(|it| it.rest));
        // The spare seconds are not part of the state's own time: this host may be ahead of another.
        let kept = rest.map(|rest| Duration::from_secs(rest.saturating_sub(SPARE)));
        let version = ItemVersion { name, unique };
        Ok(Versioned { bytes: found.map(|item| item.bytes), version, now: self.now(server), kept })
    }

    /// Returns the name of a key's item in a generation.
    pub(super) fn name(&self, generation: u64, escaped: &str) -> String {
        name::item(&self.namespace, generation, escaped)
    }

    /// Returns the present time for states on a server.
    pub(super) fn now(&self, server: &Server<R>) -> Timestamp {
        self.clock.as_ref().map_or_else(|| server.clock().now(), |clock| clock.now())
    }

    /// Returns the expiry for a state that has so long to live.
    pub(super) fn expiry(&self, server: &Server<R>, rest: Duration) -> u32 {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        // A clock of another kind than the server's may be slower.
        let rest = if self.clock.is_some() { rest.max(DAY) } else { rest };
        expiry(rest, STATE_SPARE, || server.clock().now())
    }

    /// Returns a future that completes when a call that begins now must end.
    pub(super) fn end(&self) -> impl Future<Output = ()> + Send + 'static {
        self.runtime.sleep(self.timeout)
    }
}

/// Keys are escaped already.
impl<R: Connect> CompareAndSwap for Items<R> {
    type Version = ItemVersion;

    async fn load(&self, key: &[u8]) -> Result<Versioned<ItemVersion>, BackendError> {
        let escaped = String::from_utf8_lossy(key);
        let mut end = pin!(self.end());
        let server = self.server(&escaped)?;
        let Some(known) = server.generation().cached() else {
            let generation = server.first_generation(end.as_mut()).await?;
            return self.load_in(server, generation, &escaped, end).await;
        };
        // Load with the cached generation and refresh it at once: a refresh costs no extra round trip. If the
        // namespace was cleared meanwhile, the loaded state is void and is loaded anew.
        if !(known.is_stale() && server.generation().begin_refresh(known)) {
            return self.load_in(server, known.number, &escaped, end).await;
        }
        let (old, renewed) = Box::pin(join(
            self.load_in(server, known.number, &escaped, end.as_mut()),
            self.refreshed_generation(server),
        ))
        .await;
        match renewed {
            Ok(new) if new != known.number => self.load_in(server, new, &escaped, end).await,
            _ => old,
        }
    }

    async fn swap(
        &self,
        key: &[u8],
        version: ItemVersion,
        change: Write,
    ) -> Result<Option<Versioned<ItemVersion>>, BackendError> {
        let mut end = pin!(self.end());
        let (server, name) = (self.server(&String::from_utf8_lossy(key))?, &version.name);
        let done = match (change, version.unique) {
            // No item and nothing to store: there is nothing to send.
            (Write::Remove, None) => true,
            (Write::Remove, Some(unique)) => {
                server.call(RemoveCommand { name, unique }, end.as_mut()).await?
            }
            (Write::Store(bytes, rest), unique) => {
                let stored = StoreCommand { name, bytes: &bytes, expiry: self.expiry(server, rest), unique };
                server.call(stored, end.as_mut()).await?
            }
        };
        // A lost swap returns the present item, which the executor decides on next.
        if done { Ok(None) } else { self.load(key).await.map(Some) }
    }

    async fn pause(&self, wait: Duration) {
        self.runtime.sleep(wait).await;
    }

    fn read<S: Strategy>(
        &self,
        strategy: &S,
        class: Class,
        stored: Option<&[u8]>,
        now: Timestamp,
    ) -> S::State {
        window::read(strategy, class, stored, now, || self.found_corrupt())
    }

    fn found_corrupt(&self) {
        self.corrupt.add();
    }

    fn write<S: Strategy>(&self, strategy: &S, class: Class, state: &S::State, now: Timestamp) -> Write {
        window::write(strategy, class, state, now)
    }
}

//! The items of a namespace, each on its server, as what a compare-and-swap needs.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Class, Clock, Strategy, Timestamp};
use traffik_runtimes::Connect;

use super::command::Store;
use super::expiry::{SPARE, STATE_SPARE, expiry};
use super::flood::Floods;
use super::meta::{Load, Remove};
use super::server::{End, Server};
use super::{name, window};
use crate::FifoQueue;
use crate::cas::{CompareAndSwap, Versioned, Write};
use crate::util::corrupt::CorruptValues;
use crate::util::shutdown::ShutdownGate;

pub(super) struct Items<R: Connect> {
    pub(super) runtime: R,
    pub(super) servers: Vec<Arc<Server<R>>>,
    pub(super) namespace: String,
    pub(super) timeout: Duration,
    /// A clock instead of the servers'.
    pub(super) clock: Option<Arc<dyn Clock + Send + Sync>>,
    pub(super) wait_queue: FifoQueue,
    pub(super) floods: Floods,
    pub(super) gate: ShutdownGate,
    pub(super) corrupt: CorruptValues,
}

/// Tells whether an item has been changed since it was loaded.
pub(super) struct Version {
    /// Its name, of the generation it was loaded in.
    name: String,
    /// What tells its contents; `None` if it was not there.
    unique: Option<u64>,
}

impl<R: Connect> Items<R> {
    /// The server that keeps a key: the one of the highest weight, so that few keys move when a server comes
    /// or goes.
    pub(super) fn server(&self, escaped: &str) -> Result<&Arc<Server<R>>, BackendError> {
        if let [only] = &self.servers[..] {
            return Ok(only);
        }
        let heaviest = self.servers.iter().max_by_key(|server| server.weight(escaped));
        // A builder lets nobody have none.
        heaviest.ok_or_else(|| BackendError::new(ErrorKind::Invalid, "no server is named"))
    }

    /// Asks for the generation of a server again, until the end of a call that begins now.
    pub(super) async fn renewed(&self, server: &Arc<Server<R>>) -> Result<u64, BackendError> {
        server.look(false, pin!(self.end())).await
    }

    /// Loads what a key has in a generation.
    async fn load_in(
        &self,
        server: &Server<R>,
        generation: u64,
        escaped: &str,
        end: End<'_>,
    ) -> Result<Versioned<Version>, BackendError> {
        let name = self.name(generation, escaped);
        let found = server.call(Load(&name), end).await?;
        let (unique, rest) = (found.as_ref().map(|item| item.unique), found.as_ref().and_then(|it| it.rest));
        // Some of the time is spare, should this host be ahead of another.
        let kept = rest.map(|rest| Duration::from_secs(rest.saturating_sub(SPARE)));
        let version = Version { name, unique };
        Ok(Versioned { bytes: found.map(|item| item.bytes), version, now: self.now(server), kept })
    }

    /// The name of a key's item in a generation.
    pub(super) fn name(&self, generation: u64, escaped: &str) -> String {
        name::item(&self.namespace, generation, escaped)
    }

    /// The present, for the states on a server.
    pub(super) fn now(&self, server: &Server<R>) -> Timestamp {
        self.clock.as_ref().map_or_else(|| server.clock().now(), |clock| clock.now())
    }

    /// Returns the expiry to store a state with that has so long to live.
    pub(super) fn expiry(&self, server: &Server<R>, rest: Duration) -> u32 {
        const DAY: Duration = Duration::from_secs(24 * 3_600);
        // A clock of another kind than the server's may be slower.
        let rest = if self.clock.is_some() { rest.max(DAY) } else { rest };
        expiry(rest, STATE_SPARE, || server.clock().now())
    }

    /// The end of a call that begins now.
    pub(super) fn end(&self) -> impl Future<Output = ()> + Send + 'static {
        self.runtime.sleep(self.timeout)
    }
}

/// Keys are escaped ones.
impl<R: Connect> CompareAndSwap for Items<R> {
    type Version = Version;

    async fn load(&self, key: &[u8]) -> Result<Versioned<Version>, BackendError> {
        let escaped = String::from_utf8_lossy(key);
        let mut end = pin!(self.end());
        let server = self.server(&escaped)?;
        let Some(known) = server.generation().look() else {
            let generation = server.first_look(end.as_mut()).await?;
            return self.load_in(server, generation, &escaped, end).await;
        };
        if !(known.is_old() && server.generation().begin(known)) {
            return self.load_in(server, known.number, &escaped, end).await;
        }
        let (old, renewed) =
            Box::pin(join(self.load_in(server, known.number, &escaped, end.as_mut()), self.renewed(server)))
                .await;
        match renewed {
            Ok(new) if new != known.number => self.load_in(server, new, &escaped, end).await,
            _ => old,
        }
    }

    async fn swap(
        &self,
        key: &[u8],
        version: Version,
        change: Write,
    ) -> Result<Option<Versioned<Version>>, BackendError> {
        let mut end = pin!(self.end());
        let (server, name) = (self.server(&String::from_utf8_lossy(key))?, &version.name);
        let done = match (change, version.unique) {
            (Write::Remove, None) => true,
            (Write::Remove, Some(unique)) => server.call(Remove { name, unique }, end.as_mut()).await?,
            (Write::Store(bytes, rest), unique) => {
                let stored = Store { name, bytes: &bytes, expiry: self.expiry(server, rest), unique };
                server.call(stored, end.as_mut()).await?
            }
        };
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

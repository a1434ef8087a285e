//! The servers of a storage: reached by its own connections, or through a connection of the user's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisError;
use traffik_core::debug_fields;
use traffik_core::storage::BackendError;

use super::budgets::Budgets;
use super::known::KnownScripts;
use super::net::{self, Link, Network, Place, Tls};
use super::script;
use super::session::Session;
use super::transport::{CommandSender, Transport, UserTimer};
use crate::util::evictions::Evictions;
use crate::util::warning::LogWriter;

/// The way to the servers, as a builder chose it.
pub(super) enum ServerAccess {
    #[cfg_attr(not(any(feature = "smol", feature = "tokio")), expect(dead_code, reason = "none can be made"))]
    Net(Place),
    User(Arc<dyn CommandSender>),
}

/// The servers of a storage.
pub(super) struct Servers {
    budgets: Budgets,
    known: Arc<KnownScripts>,
    pub(super) evictions: Arc<Evictions>,
    connection: ServerConnection,
}

/// The connection to the servers, once a storage is built.
enum ServerConnection {
    Net(Network),
    Transport(Transport),
}

/// A server that holds keys.
pub(super) enum Master {
    Net(Arc<Link>),
    Transport(Transport),
}

impl Servers {
    pub(super) fn new(
        access: ServerAccess,
        (sleep, tls): (Option<UserTimer>, Tls),
        budgets: Budgets,
        writer: LogWriter,
    ) -> Result<Self, BackendError> {
        let (evictions, known) = (Evictions::new(writer.clone()), Arc::new(script::at_first()));
        let connection = match access {
            ServerAccess::Net(place) => {
                let shared = (evictions.clone(), known.clone());
                ServerConnection::Net(Network::new(place, tls, budgets, writer, shared)?)
            }
            ServerAccess::User(sender) => {
                ServerConnection::Transport(Transport::new(sender, sleep, writer, evictions.clone())?)
            }
        };
        Ok(Self { budgets, known, evictions, connection })
    }

    /// Returns the scripts that were run.
    pub(super) fn known(&self) -> &KnownScripts {
        &self.known
    }

    /// Returns when a call that begins now must end.
    pub(super) fn end(&self) -> Instant {
        Instant::now() + self.budgets.call
    }

    /// Returns when a call that may wait for new connections must end.
    pub(super) fn end_with_connecting(&self) -> Instant {
        Instant::now() + self.budgets.connect.max(self.budgets.call)
    }

    /// Waits on the runtime, or by the timer of calls.
    pub(super) async fn wait(&self, time: Duration) {
        match &self.connection {
            ServerConnection::Net(_) => net::wait(time).await,
            ServerConnection::Transport(transport) => transport.wait(time).await,
        }
    }

    /// Waits until `end`.
    pub(super) async fn until(&self, end: Instant) {
        self.wait(end.saturating_duration_since(Instant::now())).await;
    }

    /// Runs a call on the server of a key.
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        key: &[u8],
        until: Instant,
        call: impl Fn(Session) -> F,
    ) -> Result<T, BackendError> {
        match &self.connection {
            ServerConnection::Net(network) => network.call(key, until, |net| call(Session::Net(net))).await,
            // Boxed, so that the futures of other calls stay small.
            ServerConnection::Transport(transport) => {
                Box::pin(transport.call(until, |session| call(Session::User(session)))).await
            }
        }
    }

    /// Connects to the server of a key, unless there is a connection.
    pub(super) async fn connect(&self, key: &[u8], until: Instant) -> Result<(), BackendError> {
        match &self.connection {
            ServerConnection::Net(network) => network.connect(key, until).await,
            ServerConnection::Transport(_) => Ok(()),
        }
    }

    /// Returns the node of a cluster that serves a key, as far as it is known.
    pub(super) fn node(&self, key: impl FnOnce() -> Vec<u8>) -> Option<Arc<str>> {
        match &self.connection {
            ServerConnection::Net(network) => network.node(key),
            ServerConnection::Transport(_) => None,
        }
    }

    /// Returns the name of each known server, and the cause of its present fault.
    pub(super) fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        match &self.connection {
            ServerConnection::Net(network) => network.faults(),
            ServerConnection::Transport(transport) => vec![transport.fault()],
        }
    }

    /// Returns all servers that hold keys. Fails if a connection of the user's may lead to several.
    pub(super) async fn masters(&self) -> Result<Vec<Master>, BackendError> {
        let until = self.end();
        match &self.connection {
            ServerConnection::Net(network) => {
                Ok(network.masters(until).await?.into_iter().map(Master::Net).collect())
            }
            ServerConnection::Transport(transport) => {
                transport.is_alone(until).await?;
                Ok(vec![Master::Transport(transport.clone())])
            }
        }
    }

    /// Returns one key for each server. `make` makes keys from numbers, which are tried until each server has
    /// one.
    pub(super) async fn key_of_each(
        &self,
        until: Instant,
        make: impl Fn(u32) -> Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, BackendError> {
        match &self.connection {
            ServerConnection::Net(network) => network.key_of_each(until, make).await,
            ServerConnection::Transport(_) => Ok(vec![make(0)]),
        }
    }

    /// Reads the evictions of all servers, and skips those that cannot be reached.
    pub(super) async fn look(&self) {
        match &self.connection {
            ServerConnection::Net(network) => network.look(self.end()).await,
            ServerConnection::Transport(transport) => transport.look(self.end()).await,
        }
    }

    /// Returns whether keys are spread over several servers, as far as it is known.
    pub(super) fn is_cluster(&self) -> bool {
        match &self.connection {
            ServerConnection::Net(network) => network.is_cluster(),
            ServerConnection::Transport(transport) => transport.is_cluster(),
        }
    }

    /// Closes all connections; later calls fail. Connections of the user's stay open.
    pub(super) fn close(&self) {
        match &self.connection {
            ServerConnection::Net(network) => network.close(),
            ServerConnection::Transport(_) => {}
        }
    }
}

impl Master {
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        until: Instant,
        call: impl Fn(Session) -> F,
    ) -> Result<T, BackendError> {
        match self {
            Self::Net(link) => link.call(until, |net| call(Session::Net(net))).await,
            Self::Transport(transport) => transport.call(until, |session| call(Session::User(session))).await,
        }
    }
}

debug_fields!([] Servers: budgets);

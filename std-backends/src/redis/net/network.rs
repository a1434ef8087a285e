//! The servers that a storage connects to: one server, the master that sentinels name, or a cluster.

use std::sync::Arc;
use std::time::Instant;

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisError};
use traffik_core::storage::{BackendError, ErrorKind};

use super::cluster::Cluster;
use super::connect::{ConnectionSource, Factory};
use super::link::Link;
use super::sentinel::Sentinels;
use super::session::NetSession;
use super::tls::Tls;
use crate::redis::budgets::Budgets;
use crate::redis::failure;
use crate::redis::known::KnownScripts;
use crate::util::evictions::Evictions;
use crate::util::warning::LogWriter;

/// The place of the servers, as the user gave it.
pub(in super::super) enum Place {
    Client(Box<Client>),
    Factory(Factory),
    Sentinels(Vec<Client>, Box<ConnectionInfo>),
    Cluster(Vec<ConnectionInfo>),
}

/// The connected servers.
pub(in super::super) enum Network {
    One(Arc<Link>),
    Cluster(Box<Cluster>),
}

impl Place {
    /// Returns whether any address says TLS.
    fn has_tls(&self) -> bool {
        let is_tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let of_client = |client: &Client| is_tls(client.get_connection_info());
        match self {
            Self::Client(client) => of_client(client),
            Self::Factory(_) => false,
            Self::Sentinels(sentinels, master) => sentinels.iter().any(of_client) || is_tls(master),
            Self::Cluster(nodes) => nodes.iter().any(is_tls),
        }
    }
}

impl Network {
    pub(in super::super) fn new(
        place: Place,
        tls: Tls,
        budgets: Budgets,
        writer: LogWriter,
        (evictions, known): (Arc<Evictions>, Arc<KnownScripts>),
    ) -> Result<Self, BackendError> {
        if tls.is_given() && !place.has_tls() {
            let words = "TLS is configured, but no address uses it; write rediss://HOST";
            return Err(BackendError::new(ErrorKind::Invalid, words));
        }
        let source = match place {
            Place::Client(client) => ConnectionSource::Client(client, tls),
            Place::Factory(factory) => ConnectionSource::Factory(factory),
            Place::Sentinels(sentinels, master) => {
                ConnectionSource::Finder(Arc::new(Sentinels::new(sentinels, *master, tls, &writer)?))
            }
            Place::Cluster(nodes) => {
                let cluster = Cluster::new(nodes, tls, budgets, writer, evictions, known);
                let cluster =
                    cluster.map_err(|error| BackendError::new(ErrorKind::Invalid, failure::words(&error)))?;
                return Ok(Self::Cluster(Box::new(cluster)));
            }
        };
        Ok(Self::One(Arc::new(Link::new(source, budgets, writer, Some(evictions), known))))
    }

    /// Runs a call on the server of a key.
    pub(in super::super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        key: &[u8],
        until: Instant,
        call: impl Fn(NetSession) -> F,
    ) -> Result<T, BackendError> {
        match self {
            Self::One(link) => link.call(until, call).await,
            // Boxed, so that calls of a single server stay small.
            Self::Cluster(cluster) => Box::pin(cluster.call(key, until, call)).await,
        }
    }

    /// Connects to the server of a key, unless that has been done.
    pub(in super::super) async fn connect(&self, key: &[u8], until: Instant) -> Result<(), BackendError> {
        match self {
            Self::One(link) => link.connect(until).await,
            Self::Cluster(cluster) => cluster.connect(key, until).await,
        }
    }

    /// Returns the node of a cluster that serves a key, as far as it is known.
    pub(in super::super) fn node(&self, key: impl FnOnce() -> Vec<u8>) -> Option<Arc<str>> {
        match self {
            Self::One(_) => None,
            Self::Cluster(cluster) => cluster.node_of(&key()),
        }
    }

    /// Returns the name of each known server, and the cause of its present fault.
    pub(in super::super) fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        match self {
            Self::One(link) => vec![(link.name().into(), link.fault())],
            Self::Cluster(cluster) => cluster.faults(),
        }
    }

    /// Returns the links to all servers that hold keys.
    pub(in super::super) async fn masters(&self, until: Instant) -> Result<Vec<Arc<Link>>, BackendError> {
        match self {
            Self::One(link) => Ok(vec![link.clone()]),
            Self::Cluster(cluster) => cluster.masters(until).await,
        }
    }

    /// Returns one key for each server, made by `make` from numbers.
    pub(in super::super) async fn key_of_each(
        &self,
        until: Instant,
        make: impl Fn(u32) -> Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, BackendError> {
        match self {
            Self::One(_) => Ok(vec![make(0)]),
            Self::Cluster(cluster) => cluster.key_of_each(until, make).await,
        }
    }

    /// Reads the evictions of all servers, and skips those that cannot be reached.
    pub(in super::super) async fn look(&self, until: Instant) {
        for master in self.masters(until).await.unwrap_or_default() {
            master.look(until).await;
        }
    }

    /// Returns whether keys are spread over several servers.
    pub(in super::super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Closes all connections; later calls fail.
    pub(in super::super) fn close(&self) {
        match self {
            Self::One(link) => link.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}

//! The servers that a storage connects to: one, the master that sentinels name, or the nodes of a cluster.

use std::sync::Arc;
use std::time::Instant;

use redis::{Client, ConnectionAddr, ConnectionInfo, RedisError};
use traffik_core::storage::{BackendError, ErrorKind};

use super::cluster::Cluster;
use super::connect::{Factory, Source};
use super::link::Link;
use super::sentinel::Sentinels;
use super::session::NetSession;
use super::tls::Tls;
use crate::redis::budgets::Budgets;
use crate::redis::known::KnownScripts;
use crate::util::evictions::Evictions;
use crate::util::warning::LogWriter;

/// How servers are found.
pub(in super::super) enum Place {
    Client(Box<Client>),
    Factory(Factory),
    Sentinels(Vec<Client>, Box<ConnectionInfo>),
    Cluster(Vec<ConnectionInfo>),
}

pub(in super::super) enum Network {
    One(Arc<Link>),
    Cluster(Box<Cluster>),
}

impl Place {
    /// Whether a server is connected to over TLS.
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
            let words = "TLS is set up, and no server is connected to over it; write rediss://HOST";
            return Err(BackendError::new(ErrorKind::Invalid, words));
        }
        let source = match place {
            Place::Client(client) => Source::Client(client, tls),
            Place::Factory(factory) => Source::Factory(factory),
            Place::Sentinels(sentinels, master) => {
                Source::Finder(Arc::new(Sentinels::new(sentinels, *master, tls, &writer)?))
            }
            Place::Cluster(nodes) => {
                let cluster = Cluster::new(nodes, tls, budgets, writer, evictions, known);
                let cluster = cluster.map_err(|error| BackendError::new(ErrorKind::Invalid, error))?;
                return Ok(Self::Cluster(Box::new(cluster)));
            }
        };
        Ok(Self::One(Arc::new(Link::new(source, budgets, writer, Some(evictions), known))))
    }

    /// Runs a call on the server that has a key.
    pub(in super::super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        key: &[u8],
        until: Instant,
        call: impl Fn(NetSession) -> F,
    ) -> Result<T, BackendError> {
        match self {
            Self::One(link) => link.call(until, call).await,
            // In a future of its own, which calls of one server need no room for.
            Self::Cluster(cluster) => Box::pin(cluster.call(key, until, call)).await,
        }
    }

    /// Connects to the server that has a key, unless that has been done.
    pub(in super::super) async fn connect(&self, key: &[u8], until: Instant) -> Result<(), BackendError> {
        match self {
            Self::One(link) => link.connect(until).await,
            Self::Cluster(cluster) => cluster.connect(key, until).await,
        }
    }

    /// The node of a cluster that serves a key, as far as is known.
    pub(in super::super) fn node(&self, key: impl FnOnce() -> Vec<u8>) -> Option<Arc<str>> {
        match self {
            Self::One(_) => None,
            Self::Cluster(cluster) => cluster.node_of(&key()),
        }
    }

    /// The name of each server that is known, and the cause of its present fault.
    pub(in super::super) fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        match self {
            Self::One(link) => vec![(link.name().into(), link.fault())],
            Self::Cluster(cluster) => cluster.faults(),
        }
    }

    /// The links to all servers that hold keys.
    pub(in super::super) async fn masters(&self, until: Instant) -> Result<Vec<Arc<Link>>, BackendError> {
        match self {
            Self::One(link) => Ok(vec![link.clone()]),
            Self::Cluster(cluster) => cluster.masters(until).await,
        }
    }

    /// Keys of which each server has one: made from a number, until one is found that the server has.
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

    /// Looks for evictions on all servers. Those that cannot be reached are left out.
    pub(in super::super) async fn look(&self, until: Instant) {
        for master in self.masters(until).await.unwrap_or_default() {
            master.look(until).await;
        }
    }

    /// Whether keys are spread over several servers.
    pub(in super::super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// No call is made from now on.
    pub(in super::super) fn close(&self) {
        match self {
            Self::One(link) => link.close(),
            Self::Cluster(cluster) => cluster.close(),
        }
    }
}

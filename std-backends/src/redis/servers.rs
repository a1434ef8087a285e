//! Where states are: on one server, or on the nodes of a cluster.

use std::sync::Arc;
use std::time::Instant;

use redis::{Client, ConnectionInfo, RedisError};
use traffik_core::debug_fields;
use traffik_core::storage::{ErrorKind, Failure};

use super::cluster::Cluster;
use super::connect::Source;
use super::known::KnownScripts;
use super::link::{Budgets, Link};
use super::script;
use super::sentinel::Sentinels;
use super::session::Session;
use crate::util::evictions::Evictions;
use crate::util::warning::Writer;

/// How they are found.
pub(super) enum Place {
    One(Source),
    Sentinels(Vec<Client>, Box<ConnectionInfo>),
    Cluster(Vec<ConnectionInfo>),
}

pub(super) struct Servers {
    budgets: Budgets,
    known: Arc<KnownScripts>,
    pub(super) evictions: Arc<Evictions>,
    are: Are,
}

enum Are {
    One(Arc<Link>),
    Cluster(Box<Cluster>),
}

impl Servers {
    pub(super) fn new(place: Place, budgets: Budgets, writer: Writer) -> Result<Self, Failure> {
        let (evictions, known) = (Evictions::new(writer.clone()), Arc::new(script::at_first()));
        let source = match place {
            Place::One(source) => source,
            Place::Sentinels(sentinels, master) => {
                Source::Finder(Arc::new(Sentinels::new(sentinels, *master, &writer)?))
            }
            Place::Cluster(nodes) => {
                let cluster = Cluster::new(nodes, budgets, writer, evictions.clone(), known.clone());
                let cluster = cluster.map_err(|error| Failure::new(ErrorKind::Invalid, error))?;
                return Ok(Self { budgets, known, evictions, are: Are::Cluster(Box::new(cluster)) });
            }
        };
        let link = Link::new(source, budgets, writer, Some(evictions.clone()), known.clone());
        Ok(Self { budgets, known, evictions, are: Are::One(Arc::new(link)) })
    }

    /// The scripts that were run.
    pub(super) fn known(&self) -> &KnownScripts {
        &self.known
    }

    /// When a call that begins now is to end.
    pub(super) fn end(&self) -> Instant {
        Instant::now() + self.budgets.call
    }

    /// When a question is to end that may wait for connections.
    pub(super) fn end_with_connecting(&self) -> Instant {
        Instant::now() + self.budgets.connect.max(self.budgets.call)
    }

    /// Runs a call on the server that has a key.
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        key: &[u8],
        until: Instant,
        call: impl Fn(Session) -> F,
    ) -> Result<T, Failure> {
        match &self.are {
            Are::One(link) => link.call(until, call).await,
            // In a future of its own, which calls of one server need no room for.
            Are::Cluster(cluster) => Box::pin(cluster.call(key, until, call)).await,
        }
    }

    /// Connects to the server that has a key, unless that has been done.
    pub(super) async fn connect(&self, key: &[u8], until: Instant) -> Result<(), Failure> {
        match &self.are {
            Are::One(link) => link.connect(until).await,
            Are::Cluster(cluster) => cluster.connect(key, until).await,
        }
    }

    /// The node of a cluster that serves a key, as far as is known.
    pub(super) fn node(&self, key: impl FnOnce() -> Vec<u8>) -> Option<Arc<str>> {
        match &self.are {
            Are::One(_) => None,
            Are::Cluster(cluster) => cluster.node_of(&key()),
        }
    }

    /// The name of each server that is known, and the cause of its present fault.
    pub(super) fn faults(&self) -> Vec<(Arc<str>, Option<Failure>)> {
        match &self.are {
            Are::One(link) => vec![(link.name().into(), link.fault())],
            Are::Cluster(cluster) => cluster.faults(),
        }
    }

    /// The links to all servers that hold keys.
    pub(super) async fn masters(&self) -> Result<Vec<Arc<Link>>, Failure> {
        match &self.are {
            Are::One(link) => Ok(vec![link.clone()]),
            Are::Cluster(cluster) => cluster.masters(self.end()).await,
        }
    }

    /// Keys of which each server has one: made from a number, until one is found that the server has.
    pub(super) async fn key_of_each(
        &self,
        until: Instant,
        make: impl Fn(u32) -> Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, Failure> {
        match &self.are {
            Are::One(_) => Ok(vec![make(0)]),
            Are::Cluster(cluster) => cluster.key_of_each(until, make).await,
        }
    }

    /// Looks for evictions on all servers. Those that cannot be reached are left out.
    pub(super) async fn look(&self) {
        let end = self.end();
        for master in self.masters().await.unwrap_or_default() {
            master.look(end).await;
        }
    }

    /// Whether keys are spread over several servers.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.are, Are::Cluster(_))
    }

    /// No call is made from now on.
    pub(super) fn close(&self) {
        match &self.are {
            Are::One(link) => link.close(),
            Are::Cluster(cluster) => cluster.close(),
        }
    }
}

debug_fields!([] Servers: budgets);

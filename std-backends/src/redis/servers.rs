//! Where states are: on one server, or on the nodes of a cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{ConnectionInfo, RedisError};
use traffik_core::debug_fields;
use traffik_core::storage::{ErrorKind, Failure};

use super::cluster::Cluster;
use super::link::{Link, Session, Source};
use crate::util::evictions::Evictions;

/// How they are found.
pub(super) enum Place {
    One(Source),
    Cluster(Vec<ConnectionInfo>),
}

pub(super) struct Servers {
    deadline: Duration,
    pub(super) evictions: Arc<Evictions>,
    are: Are,
}

enum Are {
    One(Arc<Link>),
    Cluster(Box<Cluster>),
}

impl Servers {
    pub(super) fn new(place: Place, deadline: Duration, evictions: Arc<Evictions>) -> Result<Self, Failure> {
        let are = match place {
            Place::One(source) => Are::One(Arc::new(Link::new(source, deadline, evictions.clone()))),
            Place::Cluster(nodes) => {
                let cluster = Cluster::new(nodes, deadline, evictions.clone());
                let cluster = cluster.map_err(|error| Failure::new(ErrorKind::Invalid, error))?;
                Are::Cluster(Box::new(cluster))
            }
        };
        Ok(Self { deadline, evictions, are })
    }

    /// When a call that begins now is to end.
    pub(super) fn end(&self) -> Instant {
        Instant::now() + self.deadline
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

    /// The links to all servers that hold keys.
    pub(super) async fn masters(&self) -> Result<Vec<Arc<Link>>, Failure> {
        match &self.are {
            Are::One(link) => Ok(vec![link.clone()]),
            Are::Cluster(cluster) => cluster.masters(self.end()).await,
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

debug_fields!([] Servers: deadline);

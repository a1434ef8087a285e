//! Where states are: on servers that a storage connects to, or behind a connection of the user's.

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
use super::transport::{Courier, Sleep, Transport};
use crate::util::evictions::Evictions;
use crate::util::warning::LogWriter;

/// How they are reached.
pub(super) enum Access {
    #[cfg_attr(not(any(feature = "smol", feature = "tokio")), expect(dead_code, reason = "none can be made"))]
    Net(Place),
    Courier(Arc<dyn Courier>),
}

pub(super) struct Servers {
    budgets: Budgets,
    known: Arc<KnownScripts>,
    pub(super) evictions: Arc<Evictions>,
    are: Are,
}

enum Are {
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
        access: Access,
        (sleep, tls): (Option<Sleep>, Tls),
        budgets: Budgets,
        writer: LogWriter,
    ) -> Result<Self, BackendError> {
        let (evictions, known) = (Evictions::new(writer.clone()), Arc::new(script::at_first()));
        let are = match access {
            Access::Net(place) => {
                let shared = (evictions.clone(), known.clone());
                Are::Net(Network::new(place, tls, budgets, writer, shared)?)
            }
            Access::Courier(courier) => {
                Are::Transport(Transport::new(courier, sleep, writer, evictions.clone())?)
            }
        };
        Ok(Self { budgets, known, evictions, are })
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

    /// Waits, on the runtime or by the timer that calls have.
    pub(super) async fn wait(&self, time: Duration) {
        match &self.are {
            Are::Net(_) => net::wait(time).await,
            Are::Transport(transport) => transport.wait(time).await,
        }
    }

    /// Waits until `end`.
    pub(super) async fn until(&self, end: Instant) {
        self.wait(end.saturating_duration_since(Instant::now())).await;
    }

    /// Runs a call on the server that has a key.
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        key: &[u8],
        until: Instant,
        call: impl Fn(Session) -> F,
    ) -> Result<T, BackendError> {
        match &self.are {
            Are::Net(network) => network.call(key, until, |net| call(Session::Net(net))).await,
            // In a future of its own, which other calls need no room for.
            Are::Transport(transport) => {
                Box::pin(transport.call(until, |errand| call(Session::Errand(errand)))).await
            }
        }
    }

    /// Connects to the server that has a key, unless that has been done.
    pub(super) async fn connect(&self, key: &[u8], until: Instant) -> Result<(), BackendError> {
        match &self.are {
            Are::Net(network) => network.connect(key, until).await,
            Are::Transport(_) => Ok(()),
        }
    }

    /// The node of a cluster that serves a key, as far as is known.
    pub(super) fn node(&self, key: impl FnOnce() -> Vec<u8>) -> Option<Arc<str>> {
        match &self.are {
            Are::Net(network) => network.node(key),
            Are::Transport(_) => None,
        }
    }

    /// The name of each server that is known, and the cause of its present fault.
    pub(super) fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        match &self.are {
            Are::Net(network) => network.faults(),
            Are::Transport(transport) => vec![transport.fault()],
        }
    }

    /// All servers that hold keys. Fails if a connection of the user's may lead to several.
    pub(super) async fn masters(&self) -> Result<Vec<Master>, BackendError> {
        let until = self.end();
        match &self.are {
            Are::Net(network) => Ok(network.masters(until).await?.into_iter().map(Master::Net).collect()),
            Are::Transport(transport) => {
                transport.is_alone(until).await?;
                Ok(vec![Master::Transport(transport.clone())])
            }
        }
    }

    /// Keys of which each server has one: made from a number, until one is found that the server has.
    pub(super) async fn key_of_each(
        &self,
        until: Instant,
        make: impl Fn(u32) -> Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, BackendError> {
        match &self.are {
            Are::Net(network) => network.key_of_each(until, make).await,
            Are::Transport(_) => Ok(vec![make(0)]),
        }
    }

    /// Looks for evictions on all servers. Those that cannot be reached are left out.
    pub(super) async fn look(&self) {
        match &self.are {
            Are::Net(network) => network.look(self.end()).await,
            Are::Transport(transport) => transport.look(self.end()).await,
        }
    }

    /// Whether keys are spread over several servers, as far as is known.
    pub(super) fn is_cluster(&self) -> bool {
        match &self.are {
            Are::Net(network) => network.is_cluster(),
            Are::Transport(transport) => transport.is_cluster(),
        }
    }

    /// No call is made from now on. Connections of the user's stay open.
    pub(super) fn close(&self) {
        match &self.are {
            Are::Net(network) => network.close(),
            Are::Transport(_) => {}
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
            Self::Transport(transport) => transport.call(until, |errand| call(Session::Errand(errand))).await,
        }
    }
}

debug_fields!([] Servers: budgets);

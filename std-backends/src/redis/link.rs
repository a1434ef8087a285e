//! The connection: made when it is needed, shared by all calls, and made anew once it has failed.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use futures_util::lock::Mutex as AsyncMutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind as Kind, FromRedisValue, RedisError,
    ServerErrorKind as Server, Value,
};
use spin::mutex::SpinMutex;
use traffik_core::storage::{ErrorKind, Failure};

use super::failure::unsent;
use super::silence::Silence;
use crate::door::closed;

/// Makes connections.
pub(super) type Factory =
    Arc<dyn Fn() -> BoxFuture<'static, Result<MultiplexedConnection, RedisError>> + Send + Sync>;

/// Where connections come from.
#[derive(Clone)]
pub(super) enum Source {
    Client(Box<Client>),
    Cluster(Box<ClusterClient>),
    Sentinel(Arc<AsyncMutex<SentinelClient>>),
    Factory(Factory),
}

impl Source {
    /// A new connection; all it takes is within the deadline.
    async fn connect(self, deadline: Duration) -> Result<Wire, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(deadline))
            .set_response_timeout(Some(deadline));
        Ok(match self {
            Self::Client(client) => {
                Wire::One(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Self::Cluster(client) => {
                let config = redis::cluster::ClusterConfig::new()
                    .set_connection_timeout(deadline)
                    .set_response_timeout(deadline);
                Wire::Cluster(client.get_async_connection_with_config(config).await?)
            }
            Self::Sentinel(client) => {
                Wire::One(client.lock().await.get_async_connection_with_config(&config).await?)
            }
            Self::Factory(factory) => Wire::One(factory().await?),
        })
    }
}

/// A connection that many calls can use at a time.
#[derive(Clone)]
enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A connection for one call, which has so long.
pub(super) struct Session {
    wire: Wire,
    until: Instant,
}

impl Session {
    /// Sends a command and waits for its answer, for as long as the call has left.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, RedisError> {
        let left = self.until.saturating_duration_since(Instant::now());
        match self.wire.clone() {
            Wire::One(mut connection) => {
                connection.set_response_timeout(left);
                connection.req_packed_command(command).await.and_then(Value::extract_error)
            }
            Wire::Cluster(mut connection) => {
                connection.req_packed_command(command).await.and_then(Value::extract_error)
            }
        }
    }
}

/// One of the servers behind a connection: the only one, or a master of a cluster.
pub(super) struct Node(Option<SingleNodeRoutingInfo>);

impl Session {
    /// All servers that hold keys.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, RedisError> {
        let Wire::Cluster(mut connection) = self.wire.clone() else { return Ok(vec![Node(None)]) };
        // A map of each master's address to its own answer.
        let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let answer = connection.route_command(redis::cmd("PING"), masters).await?;
        let answers: Vec<(String, Value)> = FromRedisValue::from_redis_value(answer)?;
        answers
            .into_iter()
            .map(|(address, _)| {
                let (host, port) = address.rsplit_once(':').ok_or((Kind::Parse, "a node without a port"))?;
                let port = port.parse().map_err(|_| (Kind::Parse, "a node without a port"))?;
                let node = SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port };
                Ok(Node(Some(node)))
            })
            .collect()
    }

    /// Sends a command to one of the servers.
    pub(super) async fn ask_of(&self, command: &Cmd, node: &Node) -> Result<Value, RedisError> {
        match (self.wire.clone(), &node.0) {
            (Wire::Cluster(mut connection), Some(node)) => {
                let route = RoutingInfo::SingleNode(node.clone());
                connection.route_command(command.clone(), route).await.and_then(Value::extract_error)
            }
            _ => self.ask(command).await,
        }
    }
}

/// An attempt to connect that all who wait for it share; or its outcome.
type Attempt = Shared<BoxFuture<'static, Result<Wire, Failure>>>;

/// The present connection, if there is one.
#[derive(Default)]
struct Present {
    /// Tells attempts apart.
    number: u64,
    attempt: Option<(Attempt, Arc<Silence>)>,
    /// When the last attempt failed, and how.
    failed: Option<(Instant, Failure)>,
    closed: bool,
}

pub(super) struct Link {
    source: Source,
    deadline: Duration,
    present: SpinMutex<Present>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

/// How long after a failed attempt to connect calls are told of it at once, instead of trying again.
const PAUSE: Duration = Duration::from_millis(50);

impl Link {
    pub(super) fn new(source: Source, deadline: Duration) -> Self {
        Self { source, deadline, present: SpinMutex::default() }
    }

    /// When a call that begins now is to end.
    pub(super) fn end(&self) -> Instant {
        Instant::now() + self.deadline
    }

    /// Runs a call on the connection, which is made if there is none. A connection on which a call failed for a
    /// reason that others would meet as well is not used again, nor is one that answers nobody for as long as a call may
    /// take, whether they waited so long or not.
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        until: Instant,
        call: impl FnOnce(Session) -> F,
    ) -> Result<T, Failure> {
        let (number, attempt, silence) = self.attempt()?;
        let wire = match attempt.await {
            Ok(wire) => wire,
            Err(failure) => {
                let mut present = self.present.lock();
                if present.number == number && present.attempt.take().is_some() {
                    present.failed = Some((Instant::now(), failure.clone()));
                }
                return Err(failure);
            }
        };
        let now = Instant::now();
        if until <= now {
            return Err(Failure::new(
                ErrorKind::Unavailable,
                "connecting took all the time there was; nothing was sent",
            ));
        }
        let sent = silence.sent(now);
        let told = call(Session { wire, until }).await;
        sent.answered();
        told.map_err(|error| {
            if is_of_the_connection(&error) {
                self.drop_connection(number);
            }
            super::failure::failure(error)
        })
    }

    /// Whether keys are spread over several servers.
    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self.source, Source::Cluster(_))
    }

    /// The attempt that made, or makes, the present connection.
    fn attempt(&self) -> Result<(u64, Attempt, Arc<Silence>), Failure> {
        let mut present = self.present.lock();
        if present.closed {
            return Err(closed());
        }
        if let Some((attempt, silence)) = &present.attempt
            && !silence.is_longer_than(self.deadline, Instant::now)
        {
            return Ok((present.number, attempt.clone(), silence.clone()));
        }
        if let Some((at, failure)) = &present.failed
            && at.elapsed() < PAUSE
        {
            return Err(failure.clone());
        }
        let (source, deadline) = (self.source.clone(), self.deadline);
        let attempt = async move { source.connect(deadline).await.map_err(unsent) }.boxed().shared();
        present.number += 1;
        present.failed = None;
        let silence = Arc::new(Silence::new());
        present.attempt = Some((attempt.clone(), silence.clone()));
        Ok((present.number, attempt, silence))
    }

    fn drop_connection(&self, number: u64) {
        let mut present = self.present.lock();
        if present.number == number {
            present.attempt = None;
        }
    }

    /// No call is made from now on.
    pub(super) fn close(&self) {
        let mut present = self.present.lock();
        present.closed = true;
        present.attempt = None;
    }
}

/// Whether a call failed for a reason that lies in the connection: it broke, does not answer, or leads to a server that
/// is not, or no longer, the one to ask.
fn is_of_the_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || matches!(error.kind(), Kind::Parse | Kind::Server(Server::ReadOnly | Server::MasterDown))
}

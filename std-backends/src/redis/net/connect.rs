//! Making connections: their sources, their greeting, and further attempts while one takes long.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use traffik_core::storage::BackendError;

use super::timer::{self, BackgroundTask, RuntimeId};
use super::tls::Tls;
use super::watchdog::ResponseWatchdog;
use super::wire::{NetStream, WatchedStream, WireLog};
use super::{on_smol, on_tokio};
use crate::redis::failure::{refusal, unsent};
use crate::redis::known::KnownScripts;

/// A user's function that makes connections.
pub(in super::super) type Factory =
    Arc<dyn Fn() -> BoxFuture<'static, Result<MultiplexedConnection, RedisError>> + Send + Sync>;

/// A way to find out which server to connect to.
pub(in super::super) trait Finder: Send + Sync {
    /// Returns a name for failures.
    fn name(&self) -> String;

    /// Finds the server and connects to it.
    fn connect(self: Arc<Self>, budget: Duration) -> BoxFuture<'static, Result<Connection, BackendError>>;
}

/// The source of connections to one server.
#[derive(Clone)]
pub(in super::super) enum ConnectionSource {
    Client(Box<Client>, Tls),
    Finder(Arc<dyn Finder>),
    Factory(Factory),
}

/// A connection that all calls on a runtime share.
pub(in super::super) struct Connection {
    pub(super) redis: MultiplexedConnection,
    /// The log of its bytes; `None` if the user's function or client opened the stream.
    pub(super) wire: Option<Arc<WireLog>>,
    pub(super) watchdog: ResponseWatchdog,
    /// The server's name, if it is found anew for each connection.
    pub(super) server: Option<String>,
    /// Whether a call was answered on it.
    pub(super) has_answered: AtomicBool,
    /// Whether it leads to a server that is no longer the right one.
    pub(super) is_stale: Arc<AtomicBool>,
    /// The tasks that end with the connection.
    pub(super) tasks: Vec<BackgroundTask>,
    /// When the connection was made, and how many microseconds later a call last began.
    made: Instant,
    last: AtomicU64,
}

/// Time after which another attempt starts beside the first. The system repeats lost packets only after
/// seconds, and a user's function may never return.
const PATIENCE: Duration = Duration::from_millis(500);

/// Microseconds without a call after which a connection counts as idle: less than between the calls of one
/// task over a network, more than between those of many.
const IDLE: u64 = 100;

/// The longest first answer that is read, in bytes. A server in protected mode refuses in 1 067 bytes.
const LONGEST: usize = 4_096;

impl ConnectionSource {
    /// Returns the server's name, as far as it is known.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Client(client, _) => address(client),
            Self::Finder(finder) => finder.name(),
            Self::Factory(_) => "the other end of your connection".to_owned(),
        }
    }

    /// Connects within the budget. If an attempt takes long, another one starts beside it every 500 ms, and
    /// the first to end decides. The oldest attempt may use the whole budget; each younger one replaces the
    /// one before.
    pub(super) async fn connect(
        self,
        budget: Duration,
        known: &KnownScripts,
    ) -> Result<Connection, BackendError> {
        let attempt = || Box::pin(self.clone().attempt(budget, known));
        let (mut oldest, mut newest) = (attempt(), None);
        let (mut over, mut turn) = (pin!(timer::wait(budget)), Box::pin(timer::wait(PATIENCE)));
        poll_fn(|context| {
            // The oldest attempt is polled first: when both are ready, it decides.
            if let Poll::Ready(ended) = oldest.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            while turn.as_mut().poll(context).is_ready() {
                newest = Some(attempt());
                turn = Box::pin(timer::wait(PATIENCE));
            }
            if let Some(newest) = &mut newest
                && let Poll::Ready(ended) = newest.as_mut().poll(context)
            {
                return Poll::Ready(ended);
            }
            let late = || Err(unsent(&self.name(), io::Error::from(io::ErrorKind::TimedOut).into()));
            over.as_mut().poll(context).map(|()| late())
        })
        .await
    }

    async fn attempt(self, budget: Duration, known: &KnownScripts) -> Result<Connection, BackendError> {
        let connection = match &self {
            Self::Client(client, tls) => {
                to(client, tls, budget).await.map_err(|error| unsent(&self.name(), error))
            }
            Self::Finder(finder) => Arc::clone(finder).connect(budget).await,
            Self::Factory(factory) => {
                let made = factory().await.map_err(|error| unsent(&self.name(), error))?;
                Ok(Connection::new(made))
            }
        }?;
        // The server may be another one, or have lost its scripts, so all of them are loaded in one round
        // trip. If it refuses them, the next call fails with its reason.
        let loads = known.all().into_iter().map(|text| {
            let mut redis = connection.redis.clone();
            async move { redis::cmd("SCRIPT").arg("LOAD").arg(text).query_async::<Value>(&mut redis).await }
        });
        join_all(loads).await;
        Ok(connection)
    }
}

impl Connection {
    fn new(redis: MultiplexedConnection) -> Self {
        Self {
            redis,
            wire: None,
            watchdog: ResponseWatchdog::new(),
            server: None,
            has_answered: AtomicBool::new(false),
            is_stale: Arc::default(),
            tasks: Vec::new(),
            made: Instant::now(),
            last: AtomicU64::new(0),
        }
    }

    /// Returns how many reads had bytes, or 0 if the stream is not visible.
    #[inline]
    pub(super) fn heard(&self) -> u64 {
        self.wire.as_ref().map_or(0, |wire| wire.heard())
    }

    /// Records that a call begins. After an idle time the server may have closed the connection without the
    /// runtime having noticed, so the next write checks first.
    #[inline]
    pub(super) fn begin_call(&self, now: Instant) {
        let micros = now.saturating_duration_since(self.made).as_micros() as u64;
        // Relaxed: calls that race here at worst look once more, or once less, before writing.
        let last = self.last.swap(micros, Ordering::Relaxed);
        if let Some(wire) = &self.wire
            && micros.saturating_sub(last) > IDLE
        {
            wire.look_before_writing();
        }
    }

    /// Returns whether calls need another connection: this one is closed, silent, or leads to the wrong
    /// server.
    pub(super) fn is_unusable(&self, patience: Duration) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.is_closed())
            || self.is_stale.load(Ordering::Relaxed)
            || self.watchdog.is_longer_than(patience, self.heard(), Instant::now)
    }
}

/// Returns the server's name of a client.
pub(super) fn address(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

/// Connects to a server, and waits until the server has answered a greeting.
pub(super) async fn to(client: &Client, tls: &Tls, budget: Duration) -> Result<Connection, RedisError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(budget)).set_response_timeout(Some(budget));
    let info = client.get_connection_info();
    let stream = match info.addr() {
        ConnectionAddr::TcpTls { host, port, .. } if tls.is_for(info.addr()) => {
            tls.over(tcp(host, *port, info).await?, host).await?
        }
        // Only the client knows its certificates.
        ConnectionAddr::TcpTls { .. } => {
            let mut redis = client.get_multiplexed_async_connection_with_config(&config).await?;
            let answer = redis::cmd("PING").query_async::<String>(&mut redis).await;
            check_greeting(answer.map(drop), info)?;
            return Ok(Connection::new(redis));
        }
        ConnectionAddr::Unix(path) => match runtime()? {
            RuntimeId::Tokio(id) => on_tokio::unix(id, path).await?,
            RuntimeId::Smol(id) => on_smol::unix(id, path).await?,
        },
        ConnectionAddr::Tcp(host, port) => tcp(host, *port, info).await?,
        _ => return Err(io::Error::from(io::ErrorKind::Unsupported).into()),
    };
    let (mut stream, wire) = WatchedStream::new(stream);
    check_greeting(greet(&mut stream).await, info)?;
    let (redis, driver) =
        MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await?;
    // The driver ends with the connection: dropping `tasks` aborts it.
    let driver = timer::spawn(driver).map_err(|failure| io::Error::other(failure.to_string()))?;
    Ok(Connection { wire: Some(wire), tasks: vec![driver], ..Connection::new(redis) })
}

async fn tcp(host: &str, port: u16, info: &ConnectionInfo) -> io::Result<Box<dyn NetStream>> {
    match runtime()? {
        RuntimeId::Tokio(id) => on_tokio::tcp(id, host, port, info.tcp_settings()).await,
        RuntimeId::Smol(id) => on_smol::tcp(id, host, port, info.tcp_settings()).await,
    }
}

fn runtime() -> io::Result<RuntimeId> {
    timer::runtime().map_err(|failure| io::Error::other(failure.to_string()))
}

/// Sends the shortest command there is. A server that refuses this client says so before it closes the
/// connection. Its answer to a longer first command may be about that command's length.
async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), RedisError> {
    // A server that refuses may have closed already. Its answer says why, so a failed write is reported only
    // without an answer.
    let written = stream.write_all(b"*1\r\n$4\r\nPING\r\n").await;
    let mut answer = Vec::new();
    while answer.last() != Some(&b'\n') && answer.len() < LONGEST {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(error) => return Err(written.err().unwrap_or(error).into()),
        }
    }
    redis::parse_redis_value(&answer)?.extract_error().map(drop)
}

/// Returns an error if the answer to a greeting refuses the client. A client that has yet to authenticate, or
/// may not run `PING`, is not refused.
fn check_greeting(answer: Result<(), RedisError>, info: &ConnectionInfo) -> Result<(), RedisError> {
    let has_password = info.redis_settings().password().is_some();
    match answer {
        Err(error) if error.code() == Some("NOAUTH") && has_password => Ok(()),
        Err(error) if error.code().is_some() && !refusal(&error) => Ok(()),
        answer => answer,
    }
}

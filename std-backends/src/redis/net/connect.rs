//! Making connections: from where, what is said first, and what is done while that takes long.

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
use super::wire::{Stream, WatchedStream, WireLog};
use super::{on_smol, on_tokio};
use crate::redis::failure::{refusal, unsent};
use crate::redis::known::KnownScripts;

/// Makes connections.
pub(in super::super) type Factory =
    Arc<dyn Fn() -> BoxFuture<'static, Result<MultiplexedConnection, RedisError>> + Send + Sync>;

/// Finds out which server to connect to, and connects.
pub(in super::super) trait Finder: Send + Sync {
    /// Names what it looks for.
    fn name(&self) -> String;

    fn connect(self: Arc<Self>, budget: Duration) -> BoxFuture<'static, Result<Connection, BackendError>>;
}

/// Where connections come from.
#[derive(Clone)]
pub(in super::super) enum Source {
    Client(Box<Client>, Tls),
    Finder(Arc<dyn Finder>),
    Factory(Factory),
}

/// A connection that all calls on a runtime share.
pub(in super::super) struct Connection {
    pub(super) redis: MultiplexedConnection,
    /// Its bytes, where the stream was opened here: not where a function or a client of the user's did so.
    pub(super) wire: Option<Arc<WireLog>>,
    pub(super) watchdog: ResponseWatchdog,
    /// Names the server, where that is found out anew for each connection.
    pub(super) server: Option<String>,
    /// Whether a call was answered on it, so that it is of use.
    pub(super) has_answered: AtomicBool,
    /// Whether it leads to a server that is no longer the one to ask.
    pub(super) is_stale: Arc<AtomicBool>,
    /// Ends with it.
    pub(super) tasks: Vec<BackgroundTask>,
    /// When it was made, and how many microseconds later a call last began.
    made: Instant,
    last: AtomicU64,
}

/// How long an attempt may take until another one is begun beside it. The system sends what was lost on the
/// way again only after seconds; and a user's own function may never come back.
const PATIENCE: Duration = Duration::from_millis(500);

/// After how many microseconds without a call a connection counts as idle: fewer than between calls of one
/// task over a network, and more than between those of many.
const IDLE: u64 = 100;

/// The longest first answer that is read: a server in protected mode refuses in 1 067 bytes.
const LONGEST: usize = 4_096;

impl Source {
    /// Names the server, as far as is known.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Client(client, _) => address(client),
            Self::Finder(finder) => finder.name(),
            Self::Factory(_) => "the other end of your connection".to_owned(),
        }
    }

    /// Connects, within the budget. Should an attempt take long, another one is begun beside it now and then,
    /// and the first to end decides: the oldest may take the whole budget, the younger ones take each other's
    /// place.
    pub(super) async fn connect(
        self,
        budget: Duration,
        known: &KnownScripts,
    ) -> Result<Connection, BackendError> {
        let attempt = || Box::pin(self.clone().attempt(budget, known));
        let (mut oldest, mut newest) = (attempt(), None);
        let (mut over, mut turn) = (pin!(timer::wait(budget)), Box::pin(timer::wait(PATIENCE)));
        poll_fn(|context| {
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
        // A server that may have forgotten them, or is another one, is sent all scripts in one round trip. If
        // it refuses them, the next call fails with its reason.
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

    /// How often something was heard on it, as far as that can be seen.
    #[inline]
    pub(super) fn heard(&self) -> u64 {
        self.wire.as_ref().map_or(0, |wire| wire.heard())
    }

    /// Notes that a call begins. After a while of idleness the server may have closed the connection, and the
    /// runtime not found out yet.
    #[inline]
    pub(super) fn used(&self, now: Instant) {
        let micros = now.saturating_duration_since(self.made).as_micros() as u64;
        let last = self.last.swap(micros, Ordering::Relaxed);
        if let Some(wire) = &self.wire
            && micros.saturating_sub(last) > IDLE
        {
            wire.look_before_writing();
        }
    }

    /// Whether calls are better made on another one: it is closed, silent, or leads to the wrong server.
    pub(super) fn is_of_no_use(&self, patience: Duration) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.is_closed())
            || self.is_stale.load(Ordering::Relaxed)
            || self.watchdog.is_longer_than(patience, self.heard(), Instant::now)
    }
}

/// Names the server of a client.
pub(super) fn address(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

/// Connects to a server, which has then answered once.
pub(super) async fn to(client: &Client, tls: &Tls, budget: Duration) -> Result<Connection, RedisError> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(budget)).set_response_timeout(Some(budget));
    let info = client.get_connection_info();
    let stream = match info.addr() {
        ConnectionAddr::TcpTls { host, port, .. } if tls.is_for(info.addr()) => {
            tls.over(tcp(host, *port, info).await?, host).await?
        }
        // The client alone knows its certificates.
        ConnectionAddr::TcpTls { .. } => {
            let mut redis = client.get_multiplexed_async_connection_with_config(&config).await?;
            let answer = redis::cmd("PING").query_async::<String>(&mut redis).await;
            admitted(answer.map(drop), info)?;
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
    admitted(greet(&mut stream).await, info)?;
    let (redis, driver) =
        MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await?;
    let driver = timer::spawn(driver).map_err(|failure| io::Error::other(failure.to_string()))?;
    Ok(Connection { wire: Some(wire), tasks: vec![driver], ..Connection::new(redis) })
}

async fn tcp(host: &str, port: u16, info: &ConnectionInfo) -> io::Result<Box<dyn Stream>> {
    match runtime()? {
        RuntimeId::Tokio(id) => on_tokio::tcp(id, host, port, info.tcp_settings()).await,
        RuntimeId::Smol(id) => on_smol::tcp(id, host, port, info.tcp_settings()).await,
    }
}

fn runtime() -> io::Result<RuntimeId> {
    timer::runtime().map_err(|failure| io::Error::other(failure.to_string()))
}

/// Says the shortest command there is. A server that takes no more clients, or not this one, says so before
/// it closes the connection, where its answer to a longer first command may be about its length.
async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), RedisError> {
    // It may have been refused already: the answer tells.
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

/// The answer to a greeting, which fails if it refuses the client. Who has yet to say a password, or may not
/// say this command, is not refused.
fn admitted(answer: Result<(), RedisError>, info: &ConnectionInfo) -> Result<(), RedisError> {
    let has_password = info.redis_settings().password().is_some();
    match answer {
        Err(error) if error.code() == Some("NOAUTH") && has_password => Ok(()),
        Err(error) if error.code().is_some() && !refusal(&error) => Ok(()),
        answer => answer,
    }
}

//! The connection: made when it is needed, shared by all calls, and made anew once it has failed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join};
use futures_util::lock::Mutex as AsyncMutex;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::sentinel::SentinelClient;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind as Kind, RedisError, ServerErrorKind as Server, Value,
};
use spin::mutex::SpinMutex;
use traffik_core::storage::{ErrorKind, Failure};

use super::failure::unsent;
use super::watchdog::ResponseWatchdog;
use super::{evictions, timer};
use crate::util::evictions::{EvictionWatch, Evictions, PATIENCE};
use crate::util::race::{Either, race};
use crate::util::shared::Shared;
use crate::util::shutdown::closed;

/// Makes connections.
pub(super) type Factory =
    Arc<dyn Fn() -> BoxFuture<'static, Result<MultiplexedConnection, RedisError>> + Send + Sync>;

/// Where connections come from.
#[derive(Clone)]
pub(super) enum Source {
    Client(Box<Client>),
    Sentinel(Arc<AsyncMutex<SentinelClient>>),
    Factory(Factory),
}

impl Source {
    /// Names the server, as far as is known.
    fn name(&self) -> String {
        match self {
            Self::Client(client) => client.get_connection_info().addr().to_string(),
            Self::Sentinel(_) => "the address that sentinels name".to_owned(),
            Self::Factory(_) => "the other end of a connection of yours".to_owned(),
        }
    }

    /// A new connection; all it takes is within the deadline.
    async fn connect(self, deadline: Duration) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(deadline))
            .set_response_timeout(Some(deadline));
        match self {
            Self::Client(client) => client.get_multiplexed_async_connection_with_config(&config).await,
            Self::Sentinel(client) => client.lock().await.get_async_connection_with_config(&config).await,
            Self::Factory(factory) => factory().await,
        }
    }
}

/// A connection for one call, which has so long.
pub(super) struct Session {
    connection: MultiplexedConnection,
    until: Instant,
    /// Whether each command is told to be about what is just being moved to this server.
    asking: bool,
}

impl Session {
    /// Sends a command and waits for its answer, for as long as the call has left.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let connection = &mut self.connection;
        connection.set_response_timeout(self.until.saturating_duration_since(Instant::now()));
        if !self.asking {
            return connection.req_packed_command(command).await.and_then(Value::extract_error);
        }
        let mut both = redis::pipe();
        both.cmd("ASKING").add_command(command.clone());
        let answers = connection.req_packed_commands(&both, 1, 1).await?;
        let answer = answers.into_iter().next().ok_or((Kind::Parse, "an answer is missing"))?;
        answer.extract_error()
    }
}

/// A connection, or an attempt to make one that is shared by all who wait for it, and what watches it.
type Watched<T> = (T, Arc<ResponseWatchdog>);
type Attempt = Watched<Shared<MultiplexedConnection>>;

/// The present connection, if there is one.
#[derive(Default)]
struct Present {
    /// The attempt to make it.
    attempt: Option<Attempt>,
    /// When the last attempt failed, and how.
    failed: Option<(Instant, Failure)>,
    closed: bool,
}

impl Present {
    /// Takes out the attempt with this watchdog, if it is the present one.
    #[must_use = "it is dropped outside the lock"]
    fn take_attempt(&mut self, watchdog: &Arc<ResponseWatchdog>) -> Option<Attempt> {
        self.attempt.take_if(|(_, present)| Arc::ptr_eq(present, watchdog))
    }
}

pub(super) struct Link {
    source: Source,
    deadline: Duration,
    evictions: EvictionWatch,
    present: SpinMutex<Present>,
}

/// How long after a failed attempt to connect calls are told of it at once, instead of trying again.
const PAUSE: Duration = Duration::from_millis(50);

impl Link {
    pub(super) fn new(source: Source, deadline: Duration, evictions: Arc<Evictions>) -> Self {
        let evictions = EvictionWatch::new(evictions);
        Self { source, deadline, evictions, present: SpinMutex::default() }
    }

    /// Runs a call on the connection, which is made if there is none. A connection on which a call failed for a
    /// reason that others would meet as well is not used again, nor is one that answers nobody for as long as a call may
    /// take, whether they waited so long or not.
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        until: Instant,
        call: impl FnOnce(Session) -> F,
    ) -> Result<T, Failure> {
        self.call_as(until, false, call).await
    }

    /// The same, with each command about what is just being moved to this server, or not.
    pub(super) async fn call_as<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        until: Instant,
        asking: bool,
        call: impl FnOnce(Session) -> F,
    ) -> Result<T, Failure> {
        let (connection, watchdog) = self.connection(until).await?;
        let now = Instant::now();
        if until <= now {
            return Err(too_late());
        }
        let sent = watchdog.sent(now);
        let told = if self.evictions.begin(now) {
            let beside = self.look_on(connection.clone(), now + PATIENCE);
            // In a future of its own, which other calls need no room for.
            Box::pin(join(beside, call(Session { connection, until, asking }))).await.1
        } else {
            call(Session { connection, until, asking }).await
        };
        sent.answered();
        told.map_err(|error| {
            if is_of_the_connection(&error) {
                let taken = self.present.lock().take_attempt(&watchdog);
                drop(taken);
            }
            super::failure::failure(error)
        })
    }

    /// Looks for evictions, due or not.
    pub(super) async fn look(&self, until: Instant) {
        if let Ok((connection, _)) = self.connection(until).await {
            self.look_on(connection, until).await;
        }
    }

    async fn look_on(&self, connection: MultiplexedConnection, until: Instant) {
        let mut session = Session { connection, until, asking: false };
        let answer = session.ask(&evictions::question()).await;
        evictions::note(answer, &self.evictions, || self.source.name());
    }

    /// The present connection, once it is made.
    async fn connection(&self, until: Instant) -> Result<Watched<MultiplexedConnection>, Failure> {
        loop {
            let (attempt, watchdog) = self.attempt()?;
            if let Some(Ok(connection)) = attempt.peek() {
                return Ok((connection.clone(), watchdog));
            }
            // Nobody may have waited for it while its time ran out.
            let is_left = watchdog.age() > self.deadline;
            let failure = match Box::pin(race(attempt, timer::until(until))).await {
                Either::Left(Ok(connection)) => return Ok((connection, watchdog)),
                Either::Left(Err(failure)) => failure,
                Either::Right(()) => return Err(too_late()),
            };
            let mut present = self.present.lock();
            let taken = present.take_attempt(&watchdog);
            if !is_left && taken.is_some() {
                present.failed = Some((Instant::now(), failure.clone()));
            }
            drop(present);
            drop(taken);
            if !is_left {
                return Err(failure);
            }
        }
    }

    /// The attempt that made, or makes, the present connection.
    fn attempt(&self) -> Result<Attempt, Failure> {
        let mut present = self.present.lock();
        if present.closed {
            return Err(closed());
        }
        if let Some((attempt, watchdog)) = &present.attempt
            && !watchdog.is_longer_than(self.deadline, Instant::now)
        {
            return Ok((attempt.clone(), watchdog.clone()));
        }
        if let Some((at, failure)) = &present.failed
            && at.elapsed() < PAUSE
        {
            return Err(failure.clone());
        }
        timer::has_runtime()?;
        let (source, deadline) = (self.source.clone(), self.deadline);
        let attempt =
            Shared::or_else(ErrorKind::Unavailable, "connecting panicked; nothing was sent", async move {
                source.connect(deadline).await.map_err(unsent)
            });
        present.failed = None;
        let watchdog = Arc::new(ResponseWatchdog::new());
        let before = present.attempt.replace((attempt.clone(), watchdog.clone()));
        // Outside the lock, for what is dropped may be code of the user's.
        drop(present);
        drop(before);
        Ok((attempt, watchdog))
    }

    /// No call is made from now on.
    pub(super) fn close(&self) {
        let mut present = self.present.lock();
        present.closed = true;
        let before = present.attempt.take();
        drop(present);
        drop(before);
    }
}

fn too_late() -> Failure {
    Failure::new(ErrorKind::Unavailable, "connecting took all the time there was; nothing was sent")
}

/// Whether a call failed for a reason that lies in the connection: it broke, does not answer, or leads to a server that
/// is not, or no longer, the one to ask.
fn is_of_the_connection(error: &RedisError) -> bool {
    error.is_unrecoverable_error()
        || error.is_io_error()
        || matches!(error.kind(), Kind::Parse | Kind::Server(Server::ReadOnly | Server::MasterDown))
}

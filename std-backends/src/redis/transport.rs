//! The user's connections: commands are handed over one after another, each with its deadline.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join};
use redis::{Cmd, ErrorKind as Kind, FromRedisValue, RedisError, ServerErrorKind as Server, Value};
use traffik_core::Timer;
use traffik_core::storage::{BackendError, ErrorKind};

use super::{evictions, failure, net};
use crate::util::evictions::{EvictionWatch, Evictions, PATIENCE};
use crate::util::faults::Faults;
use crate::util::race::{Either, race};
use crate::util::warning::LogWriter;

/// The name of the server, of which no more is known.
const NAME: &str = "the other end of your connection";

/// A future that completes when a call must end.
pub(super) type CallEnd = BoxFuture<'static, ()>;

/// A way to send commands to a server.
pub(super) trait CommandSender: Send + Sync {
    /// Sends a command, and waits for its answer until `end`. An error of the kind [`Client`](Kind::Client)
    /// means that nothing was sent.
    fn send<'a>(&'a self, command: &'a Cmd, end: CallEnd) -> BoxFuture<'a, Result<Value, RedisError>>;
}

/// The user's timer.
#[derive(Clone)]
pub(super) struct UserTimer(Arc<dyn Fn(Duration) -> CallEnd + Send + Sync>);

impl UserTimer {
    pub(super) fn by(timer: impl Timer + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |time| Box::pin(timer.sleep(time))))
    }
}

/// A connection of the user's with what is known of its server.
#[derive(Clone)]
pub(super) struct Transport {
    sender: Arc<dyn CommandSender>,
    /// The timer; `None` to wait on the runtime that calls run on.
    sleep: Option<UserTimer>,
    state: Arc<TransportState>,
}

/// The known state of the server.
struct TransportState {
    faults: Faults,
    evictions: EvictionWatch,
    /// Whether the server refused keys of several slots, as the nodes of a cluster do.
    is_cluster: AtomicBool,
}

/// A connection of the user's for one call.
pub(super) struct TransportSession {
    transport: Transport,
    until: Instant,
}

impl Transport {
    pub(super) fn new(
        sender: Arc<dyn CommandSender>,
        sleep: Option<UserTimer>,
        writer: LogWriter,
        evictions: Arc<Evictions>,
    ) -> Result<Self, BackendError> {
        if sleep.is_none() && !net::HAS_TIMER {
            let words = "calls need a timer for their deadlines; give one (RedisBuilder::timer), or turn on \
                         the feature tokio or smol";
            return Err(BackendError::new(ErrorKind::Invalid, words));
        }
        let faults = Faults::new(format!("Redis at {NAME}"), writer);
        let (evictions, is_cluster) = (EvictionWatch::new(evictions), AtomicBool::new(false));
        Ok(Self { sender, sleep, state: Arc::new(TransportState { faults, evictions, is_cluster }) })
    }

    /// Runs a call once: a transport cannot see whether a command was sent, so it never repeats a call.
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        until: Instant,
        call: impl Fn(TransportSession) -> F,
    ) -> Result<T, BackendError> {
        if self.sleep.is_none() {
            net::has_timer()?;
        }
        let (now, session) = (Instant::now(), TransportSession { transport: self.clone(), until });
        let answer = if self.state.evictions.begin(now) {
            // The call is polled first, for a pool may have one connection.
            join(call(session), self.look(until.min(now + PATIENCE))).await.0
        } else {
            call(session).await
        };
        let failure = match answer {
            Ok(answer) => {
                self.state.faults.answered(Instant::now);
                return Ok(answer);
            }
            Err(error) => {
                // A redirect means that this connection leads to one node of a cluster, which no retry cures.
                let is_redirect = matches!(error.kind(), Kind::Server(Server::Moved | Server::Ask));
                let failure = failure::failure(NAME, error);
                if is_redirect { failure.with_kind(ErrorKind::Denied) } else { failure }
            }
        };
        // A cross-slot refusal is an answer of a healthy cluster, and no fault. The flag is a hint, hence
        // Relaxed.
        if failure::is_cross_slot(&failure) {
            self.state.is_cluster.store(true, Ordering::Relaxed);
        } else {
            self.state.faults.failed(&failure, Instant::now());
        }
        Err(failure)
    }

    pub(super) async fn wait(&self, time: Duration) {
        match &self.sleep {
            Some(UserTimer(sleep)) => sleep(time).await,
            None => net::wait(time).await,
        }
    }

    /// Returns the server's name, and the cause of its present fault.
    pub(super) fn fault(&self) -> (Arc<str>, Option<BackendError>) {
        (NAME.into(), self.state.faults.cause())
    }

    /// Reads the evictions. A cluster's reply has one part for each node, which counts as a refusal.
    pub(super) async fn look(&self, until: Instant) {
        let question = evictions::question();
        let ask = async |mut session: TransportSession| session.ask(&question).await;
        let answer = ask(TransportSession { transport: self.clone(), until }).await;
        evictions::note(answer, &self.state.evictions, || NAME.to_owned());
    }

    /// Fails if the server is, or may be, a node of a cluster.
    pub(super) async fn is_alone(&self, until: Instant) -> Result<(), BackendError> {
        let mut question = redis::cmd("INFO");
        question.arg("cluster");
        let answer = self.call(until, async |mut session| session.ask(&question).await).await?;
        // Clearing by SCAN would see the keys of one node only, so a doubtful answer counts as a cluster.
        let is_alone = String::from_redis_value(answer).is_ok_and(|info| info.contains("cluster_enabled:0"));
        if is_alone {
            return Ok(());
        }
        let words = "a namespace on a cluster is cleared over the storage's own connections only; use \
                     RedisStorage::cluster";
        Err(failure::of(NAME, ErrorKind::Invalid, words))
    }

    /// Returns whether keys are spread over several servers, as far as it is known.
    pub(super) fn is_cluster(&self) -> bool {
        self.state.is_cluster.load(Ordering::Relaxed)
    }
}

impl TransportSession {
    /// Sends a command, and waits for its answer as long as the call may take.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let Self { transport, until } = self;
        // Each command gets the rest of the call's time, so a call of several commands still ends in time.
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failure::not_sent("the call's deadline has passed".to_owned()));
        }
        // A timer of the user works without any runtime of ours.
        let end: CallEnd = match &transport.sleep {
            Some(UserTimer(sleep)) => sleep(left),
            None => Box::pin(net::wait(left)),
        };
        transport.sender.send(command, end).await?.extract_error()
    }
}

/// A function that sends a command.
pub(super) struct CommandFn<F>(pub(super) F);

impl<F, A> CommandSender for CommandFn<F>
where
    F: Fn(Cmd) -> A + Send + Sync,
    A: Future<Output = Result<Value, RedisError>> + Send + 'static,
{
    fn send<'a>(&'a self, command: &'a Cmd, end: CallEnd) -> BoxFuture<'a, Result<Value, RedisError>> {
        // Cloned, since the future of a user's function must own its command.
        let answer = (self.0)(command.clone());
        Box::pin(in_time(answer, end))
    }
}

/// Waits for an answer until `end`, and fails with a timeout then. Whether the command was sent is unknown.
pub(super) async fn in_time<A, E>(answer: A, end: E) -> Result<Value, RedisError>
where
    A: Future<Output = Result<Value, RedisError>>,
    E: Future<Output = ()>,
{
    match race(answer, end).await {
        Either::Left(answer) => answer,
        Either::Right(()) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
}

//! Connections of the user's: one command after another is handed over, each with the time that it has.

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

/// Names the server, of which no more is known.
const NAME: &str = "the other end of your connection";

/// The end of a call's time.
pub(super) type End = BoxFuture<'static, ()>;

/// Takes commands to a server.
pub(super) trait Courier: Send + Sync {
    /// Sends a command and waits for its answer, until its time is over. An error of the kind
    /// [`Client`](Kind::Client) says that nothing was sent.
    fn send<'a>(&'a self, command: &'a Cmd, end: End) -> BoxFuture<'a, Result<Value, RedisError>>;
}

/// Waits as the user's timer does.
#[derive(Clone)]
pub(super) struct Sleep(Arc<dyn Fn(Duration) -> End + Send + Sync>);

impl Sleep {
    pub(super) fn by(timer: impl Timer + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |time| Box::pin(timer.sleep(time))))
    }
}

#[derive(Clone)]
pub(super) struct Transport {
    courier: Arc<dyn Courier>,
    /// `None` to wait on the runtime that calls come from.
    sleep: Option<Sleep>,
    state: Arc<State>,
}

/// The facts known of the server.
struct State {
    faults: Faults,
    evictions: EvictionWatch,
    /// Whether it has refused keys of several slots, as the nodes of a cluster do.
    is_cluster: AtomicBool,
}

/// A transport for one call, which has so long.
pub(super) struct Errand {
    transport: Transport,
    until: Instant,
}

impl Transport {
    pub(super) fn new(
        courier: Arc<dyn Courier>,
        sleep: Option<Sleep>,
        writer: LogWriter,
        evictions: Arc<Evictions>,
    ) -> Result<Self, BackendError> {
        if sleep.is_none() && !net::HAS_TIMER {
            let words = "a call waits no longer than it may by a timer: give one (RedisBuilder::timer), or \
                         turn on the feature tokio or smol";
            return Err(BackendError::new(ErrorKind::Invalid, words));
        }
        let faults = Faults::new(format!("Redis at {NAME}"), writer);
        let (evictions, is_cluster) = (EvictionWatch::new(evictions), AtomicBool::new(false));
        Ok(Self { courier, sleep, state: Arc::new(State { faults, evictions, is_cluster }) })
    }

    /// Runs a call. It is never run again: whether what was sent got there is not seen from here.
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        until: Instant,
        call: impl Fn(Errand) -> F,
    ) -> Result<T, BackendError> {
        if self.sleep.is_none() {
            net::has_timer()?;
        }
        let (now, errand) = (Instant::now(), Errand { transport: self.clone(), until });
        let answer = if self.state.evictions.begin(now) {
            // The call first, for a pool may have one connection.
            join(call(errand), self.look(until.min(now + PATIENCE))).await.0
        } else {
            call(errand).await
        };
        let failure = match answer {
            Ok(answer) => {
                self.state.faults.answered(Instant::now);
                return Ok(answer);
            }
            Err(error) => {
                let is_sent_on = matches!(error.kind(), Kind::Server(Server::Moved | Server::Ask));
                let failure = failure::failure(NAME, error);
                if is_sent_on { failure.with_kind(ErrorKind::Denied) } else { failure }
            }
        };
        if failure::is_cross_slot(&failure) {
            self.state.is_cluster.store(true, Ordering::Relaxed);
        } else {
            self.state.faults.failed(&failure, Instant::now());
        }
        Err(failure)
    }

    pub(super) async fn wait(&self, time: Duration) {
        match &self.sleep {
            Some(Sleep(sleep)) => sleep(time).await,
            None => net::wait(time).await,
        }
    }

    /// The server's name, and the cause of its present fault.
    pub(super) fn fault(&self) -> (Arc<str>, Option<BackendError>) {
        (NAME.into(), self.state.faults.cause())
    }

    /// Looks for evictions. A cluster answers for each of its nodes, which is not understood.
    pub(super) async fn look(&self, until: Instant) {
        let question = evictions::question();
        let ask = async |mut errand: Errand| errand.ask(&question).await;
        let answer = ask(Errand { transport: self.clone(), until }).await;
        evictions::note(answer, &self.state.evictions, || NAME.to_owned());
    }

    /// Fails if the server is a node of a cluster, or is not known to be none.
    pub(super) async fn is_alone(&self, until: Instant) -> Result<(), BackendError> {
        let mut question = redis::cmd("INFO");
        question.arg("cluster");
        let answer = self.call(until, async |mut errand| errand.ask(&question).await).await?;
        let is_alone = String::from_redis_value(answer).is_ok_and(|info| info.contains("cluster_enabled:0"));
        if is_alone {
            return Ok(());
        }
        let words =
            "a namespace on a cluster is cleared by connections of the storage's own: RedisStorage::cluster";
        Err(failure::of(NAME, ErrorKind::Invalid, words))
    }

    /// Whether keys are spread over several servers, as far as is known.
    pub(super) fn is_cluster(&self) -> bool {
        self.state.is_cluster.load(Ordering::Relaxed)
    }
}

impl Errand {
    /// Sends a command and waits for its answer, for as long as the call has left.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let Self { transport, until } = self;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failure::not_sent("the call's time was over".to_owned()));
        }
        let end: End = match &transport.sleep {
            Some(Sleep(sleep)) => sleep(left),
            None => Box::pin(net::wait(left)),
        };
        transport.courier.send(command, end).await?.extract_error()
    }
}

/// A function that sends a command.
pub(super) struct Function<F>(pub(super) F);

impl<F, A> Courier for Function<F>
where
    F: Fn(Cmd) -> A + Send + Sync,
    A: Future<Output = Result<Value, RedisError>> + Send + 'static,
{
    fn send<'a>(&'a self, command: &'a Cmd, end: End) -> BoxFuture<'a, Result<Value, RedisError>> {
        let answer = (self.0)(command.clone());
        Box::pin(in_time(answer, end))
    }
}

/// The answer to what was sent, or an error once its time is over.
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

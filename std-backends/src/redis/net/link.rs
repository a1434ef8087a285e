//! The connections to a server: one for each runtime, made in the background when one is needed, shared by
//! all calls there, and made anew once it has failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join;
use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};
use spin::mutex::SpinMutex;
use traffik_core::storage::{BackendError, ErrorKind};

use super::connect::{Connection, Source};
use super::session::NetSession;
use super::timer::{self, RuntimeId};
use crate::redis::budgets::Budgets;
use crate::redis::known::KnownScripts;
use crate::redis::{evictions, failure};
use crate::util::evictions::{EvictionWatch, Evictions, PATIENCE};
use crate::util::faults::Faults;
use crate::util::pause::Pause;
use crate::util::race::{Either, race};
use crate::util::shared_future::SharedFuture;
use crate::util::shutdown::closed;
use crate::util::warning::LogWriter;

/// The role in which a server is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeRole {
    /// As the one that has all keys.
    Single,
    /// As a node of a cluster, which may send the call on.
    Node,
    /// As the node that a key is just being moved to.
    Asking,
}

pub(in super::super) struct Link {
    source: Source,
    /// Names the server.
    name: String,
    budgets: Budgets,
    /// `None` of a server that keeps no keys.
    evictions: Option<EvictionWatch>,
    known: Arc<KnownScripts>,
    faults: Faults,
    lanes: SpinMutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    each: Vec<Lane>,
    pause: Pause,
    is_closed: bool,
}

/// The connection of a runtime. Each has its own, for a connection is of no use while its runtime stands
/// still.
struct Lane {
    runtime: RuntimeId,
    ready: Option<Arc<Connection>>,
    attempt: Option<Attempt>,
}

/// A connection that is being made, for all who wait for it.
#[derive(Clone)]
struct Attempt {
    outcome: SharedFuture<Arc<Connection>>,
    began: Instant,
}

/// How many runtimes have a connection at most; those that had theirs first lose it first.
const LANES: usize = 32;

/// For how much longer than a call waits a connection may be silent.
const SPARE: Duration = Duration::from_millis(200);

/// For how much longer than its budget an attempt is waited for: its runtime may stand still, or have no
/// timer.
const GRACE: Duration = Duration::from_millis(500);

impl Link {
    pub(super) fn new(
        source: Source,
        budgets: Budgets,
        writer: LogWriter,
        evictions: Option<Arc<Evictions>>,
        known: Arc<KnownScripts>,
    ) -> Self {
        let (name, evictions) = (source.name(), evictions.map(EvictionWatch::new));
        let faults = Faults::new(format!("Redis at {name}"), writer);
        Self { source, name, budgets, evictions, known, faults, lanes: SpinMutex::default() }
    }

    /// Names the server.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the last cause of its present fault.
    pub(super) fn fault(&self) -> Option<BackendError> {
        self.faults.cause()
    }

    /// Runs a call on the connection of the present runtime, which is made if there is none; and once more on
    /// another one if nothing of it was sent, as on one that the server had closed. A connection on which a
    /// call failed for a reason that others would meet as well is not used again, nor is one that answers
    /// nobody for 200 ms longer than a call may take, whether they waited so long or not.
    pub(in super::super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        until: Instant,
        call: impl Fn(NetSession) -> F,
    ) -> Result<T, BackendError> {
        self.call_as(until, NodeRole::Single, call).await
    }

    /// The same, of a server in this role.
    pub(super) async fn call_as<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        until: Instant,
        role: NodeRole,
        call: impl Fn(NetSession) -> F,
    ) -> Result<T, BackendError> {
        loop {
            let connection = match self.connection(until).await {
                Ok(connection) => connection,
                Err(failure) => return Err(self.noted(failure)),
            };
            let now = Instant::now();
            if until <= now {
                return Err(self.noted(self.too_late()));
            }
            let sent = connection.watchdog.sent(now, connection.heard());
            connection.used(now);
            let session = NetSession::new(Arc::clone(&connection), until, role == NodeRole::Asking);
            let answer = match &self.evictions {
                Some(watch) if watch.begin(now) => {
                    let end = until.min(now + PATIENCE);
                    let beside = self.look_on(watch, Arc::clone(&connection), end);
                    // In a future of its own, which other calls need no room for.
                    Box::pin(join(beside, call(session))).await.1
                }
                _ => call(session).await,
            };
            if !answer.as_ref().is_err_and(RedisError::is_timeout) {
                sent.answered();
            }
            let error = match answer {
                Ok(answer) => {
                    if !connection.has_answered.load(Ordering::Relaxed) {
                        self.is_of_use(&connection);
                    }
                    self.faults.answered(Instant::now);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if failure::is_not_sent(&error) && Instant::now() < until {
                self.leave(&connection, &failure::failure(&self.name, error));
                continue;
            }
            return Err(self.failed(&connection, role, error));
        }
    }

    /// Ends a call that failed, and leaves its connection if that is to blame.
    #[cold]
    fn failed(&self, connection: &Arc<Connection>, role: NodeRole, error: RedisError) -> BackendError {
        let is_sent_on = matches!(error.kind(), Kind::Server(Server::Moved | Server::Ask | Server::TryAgain));
        let is_of_the_connection = is_of_the_connection(&error);
        let failure = failure::failure(connection.server.as_ref().unwrap_or(&self.name), error);
        if is_of_the_connection {
            self.leave(connection, &failure);
        }
        match role {
            NodeRole::Node | NodeRole::Asking if is_sent_on => failure,
            NodeRole::Single if is_sent_on => self.noted(failure.with_kind(ErrorKind::Denied)),
            _ => self.noted(failure),
        }
    }

    fn noted(&self, failure: BackendError) -> BackendError {
        self.faults.failed(&failure, Instant::now());
        failure
    }

    /// Connects, unless that has been done.
    pub(super) async fn connect(&self, until: Instant) -> Result<(), BackendError> {
        self.connection(until).await.map(drop).map_err(|failure| self.noted(failure))
    }

    /// Looks for evictions, due or not.
    pub(super) async fn look(&self, until: Instant) {
        if let Some(watch) = &self.evictions
            && let Ok(connection) = self.connection(until).await
        {
            self.look_on(watch, connection, until).await;
        }
    }

    async fn look_on(&self, watch: &EvictionWatch, connection: Arc<Connection>, until: Instant) {
        let answer = NetSession::new(connection, until, false).ask(&evictions::question()).await;
        evictions::note(answer, watch, || self.name.clone());
    }

    /// The connection of the present runtime, once it is made.
    async fn connection(&self, until: Instant) -> Result<Arc<Connection>, BackendError> {
        let runtime = timer::runtime()?;
        let mut lanes = self.lanes.lock();
        let lane = lanes.each.iter().find(|lane| lane.runtime == runtime);
        if let Some(ready) = lane.and_then(|lane| lane.ready.as_ref())
            && !ready.is_of_no_use(self.patience())
        {
            return Ok(Arc::clone(ready));
        }
        let mut dropped = Vec::new();
        let found = self.find(&mut lanes, runtime, &mut dropped);
        // What is dropped outside of the lock may be code of the user's.
        drop(lanes);
        drop(dropped);
        let (attempt, is_new) = found?;
        if is_new {
            let driven = attempt.outcome.clone();
            timer::spawn(async move { drop(driven.await) })?.detach();
        }
        match Box::pin(race(attempt.outcome, timer::until(until))).await {
            Either::Left(connection) => connection,
            Either::Right(()) => Err(self.too_late()),
        }
    }

    /// The attempt that is under way, or is to be begun: where it is new, it has to be run in the background.
    #[cold]
    fn find(
        &self,
        lanes: &mut Lanes,
        runtime: RuntimeId,
        dropped: &mut Vec<Lane>,
    ) -> Result<(Attempt, bool), BackendError> {
        if lanes.is_closed {
            return Err(closed());
        }
        let (now, Lanes { each, pause, .. }) = (Instant::now(), lanes);
        let at = each.iter().position(|lane| lane.runtime == runtime).unwrap_or_else(|| {
            dropped.extend(each.extract_if(.., |lane| lane.is_over()));
            if each.len() >= LANES {
                dropped.push(each.remove(0));
            }
            each.push(Lane { runtime, ready: None, attempt: None });
            each.len() - 1
        });
        let Some(lane) = each.get_mut(at) else { return Err(closed()) };
        if let Some(Attempt { outcome, began }) = &lane.attempt {
            match outcome.peek() {
                Some(Ok(connection)) if !connection.is_of_no_use(self.patience()) => {
                    lane.ready = Some(Arc::clone(connection));
                    return Ok((Attempt { outcome: outcome.clone(), began: *began }, false));
                }
                Some(Err(failure)) => pause.begin(failure.clone(), now),
                Some(Ok(_)) => {}
                None if now.saturating_duration_since(*began) > self.budgets.connect + GRACE => {}
                None => return Ok((Attempt { outcome: outcome.clone(), began: *began }, false)),
            }
        }
        dropped.push(Lane { runtime, ready: lane.ready.take(), attempt: lane.attempt.take() });
        if let Some(failure) = pause.cause(now) {
            return Err(failure);
        }
        let (source, known, budget) = (self.source.clone(), self.known.clone(), self.budgets.connect);
        let connect = async move { source.connect(budget, &known).await.map(Arc::new) };
        let outcome =
            SharedFuture::or_else(ErrorKind::Unavailable, "connecting panicked; nothing was sent", connect);
        let attempt = Attempt { outcome, began: now };
        lane.attempt = Some(attempt.clone());
        Ok((attempt, true))
    }

    /// A call was answered on a connection for the first time.
    #[cold]
    fn is_of_use(&self, connection: &Connection) {
        connection.has_answered.store(true, Ordering::Relaxed);
        self.lanes.lock().pause.end();
    }

    /// Uses a connection no more. If it was never of use, there is a pause before another one is made.
    #[cold]
    fn leave(&self, connection: &Arc<Connection>, failure: &BackendError) {
        let mut lanes = self.lanes.lock();
        let lane = lanes.each.iter_mut().find(|lane| lane.has(connection));
        let dropped = lane.map(|lane| (lane.ready.take(), lane.attempt.take()));
        if dropped.is_some() && !connection.has_answered.load(Ordering::Relaxed) {
            lanes.pause.lost(failure.clone(), Instant::now());
        }
        drop(lanes);
        drop(dropped);
    }

    /// No call is made from now on.
    pub(super) fn close(&self) {
        let mut lanes = self.lanes.lock();
        lanes.is_closed = true;
        let dropped = std::mem::take(&mut lanes.each);
        drop(lanes);
        drop(dropped);
    }

    /// How long a connection may be silent: longer than a call waits, for its answer may be on its way.
    fn patience(&self) -> Duration {
        self.budgets.call + SPARE
    }

    fn too_late(&self) -> BackendError {
        let words = "not connected when the call's time was over; nothing was sent";
        failure::of(&self.name, ErrorKind::Unavailable, words)
    }
}

impl Lane {
    fn has(&self, connection: &Arc<Connection>) -> bool {
        let made = self.attempt.as_ref().and_then(|attempt| attempt.outcome.peek()?.as_ref().ok());
        self.ready.iter().chain(made).any(|it| Arc::ptr_eq(it, connection))
    }

    /// Whether its connection is closed, as that of a runtime is which has ended.
    fn is_over(&self) -> bool {
        let is_closed = |it: &Arc<Connection>| it.wire.as_ref().is_some_and(|wire| wire.is_closed());
        self.ready.as_ref().is_some_and(is_closed)
    }
}

/// Whether a call failed for a reason that lies in the connection: it broke, or leads to a server that is
/// not, or no longer, the one to ask. Of one that is slow to answer nothing is known yet.
fn is_of_the_connection(error: &RedisError) -> bool {
    failure::is_not_sent(error)
        || (!error.is_timeout() && (error.is_unrecoverable_error() || error.is_io_error()))
        || matches!(error.kind(), Kind::Parse | Kind::Server(Server::ReadOnly | Server::MasterDown))
}

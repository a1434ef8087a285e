//! The connections to one server: one for each runtime, made in the background when needed, shared by all
//! calls there, and replaced after a failure.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join;
use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};
use spin::mutex::SpinMutex;
use traffik_core::storage::{BackendError, ErrorKind};

use super::connect::{Connection, ConnectionSource};
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
    /// The server that has all keys.
    Single,
    /// A node of a cluster, which may redirect the call.
    Node,
    /// The node that a key is being moved to.
    Asking,
}

/// A server and its connections.
pub(in super::super) struct Link {
    source: ConnectionSource,
    /// The server's name.
    name: String,
    budgets: Budgets,
    /// The watch of evictions; `None` for a server that keeps no keys.
    evictions: Option<EvictionWatch>,
    known: Arc<KnownScripts>,
    faults: Faults,
    connections: SpinMutex<RuntimeConnections>,
}

/// The connections of all runtimes, under one lock.
#[derive(Default)]
struct RuntimeConnections {
    each: Vec<RuntimeConnection>,
    pause: Pause,
    is_closed: bool,
}

/// The connection of one runtime. Each runtime has its own, since a connection stands still with its runtime.
struct RuntimeConnection {
    runtime: RuntimeId,
    ready: Option<Arc<Connection>>,
    attempt: Option<ConnectAttempt>,
}

/// An attempt to connect, shared by all calls that wait for it.
#[derive(Clone)]
struct ConnectAttempt {
    outcome: SharedFuture<Arc<Connection>>,
    began: Instant,
}

/// The most runtimes with a connection; the oldest connection is dropped for a new one.
const MAX_RUNTIMES: usize = 32;

/// Silence that a connection may have beyond the timeout of a call.
const SPARE: Duration = Duration::from_millis(200);

/// Time beyond its budget after which an attempt is replaced: its runtime may stand still, or have no timer.
const GRACE: Duration = Duration::from_millis(500);

impl Link {
    pub(super) fn new(
        source: ConnectionSource,
        budgets: Budgets,
        writer: LogWriter,
        evictions: Option<Arc<Evictions>>,
        known: Arc<KnownScripts>,
    ) -> Self {
        let (name, evictions) = (source.name(), evictions.map(EvictionWatch::new));
        let faults = Faults::new(format!("Redis at {name}"), writer);
        Self { source, name, budgets, evictions, known, faults, connections: SpinMutex::default() }
    }

    /// Returns the server's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the last cause of the present fault.
    pub(super) fn fault(&self) -> Option<BackendError> {
        self.faults.cause()
    }

    /// Runs a call on the present runtime's connection, which is made if there is none. If nothing was sent,
    /// as on a connection that the server had closed, runs the call again on another connection.
    ///
    /// A connection is replaced after a failure that other calls would meet as well. It is also replaced if
    /// it answers nothing for 200 ms longer than a call may take, whether or not calls waited that long.
    pub(in super::super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        until: Instant,
        call: impl Fn(NetSession) -> F,
    ) -> Result<T, BackendError> {
        self.call_as(until, NodeRole::Single, call).await
    }

    /// Runs a call as [`call`](Self::call) does, on a server in this role.
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
            // The watch is armed before the call is sent: a call dropped from here on counts as unanswered.
            let sent = connection.watchdog.sent(now, connection.heard());
            connection.begin_call(now);
            let session = NetSession::new(Arc::clone(&connection), until, role == NodeRole::Asking);
            let answer = match &self.evictions {
                Some(watch) if watch.begin(now) => {
                    let end = until.min(now + PATIENCE);
                    let beside = self.look_on(watch, Arc::clone(&connection), end);
                    // Boxed, so that the futures of other calls stay small.
                    Box::pin(join(beside, call(session))).await.1
                }
                _ => call(session).await,
            };
            // A timeout leaves the watch armed: the connection still owes an answer.
            if !answer.as_ref().is_err_and(RedisError::is_timeout) {
                sent.answered();
            }
            let error = match answer {
                Ok(answer) => {
                    if !connection.has_answered.load(Ordering::Relaxed) {
                        self.note_useful(&connection);
                    }
                    self.faults.answered(Instant::now);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            // Nothing was written, so the call may run again without charging twice.
            if failure::is_not_sent(&error) && Instant::now() < until {
                self.discard(&connection, &failure::failure(&self.name, error));
                continue;
            }
            return Err(self.failed(&connection, role, error));
        }
    }

    /// Ends a failed call, and discards its connection if the connection is to blame.
    #[cold]
    fn failed(&self, connection: &Arc<Connection>, role: NodeRole, error: RedisError) -> BackendError {
        let is_redirect =
            matches!(error.kind(), Kind::Server(Server::Moved | Server::Ask | Server::TryAgain));
        let is_connection_fault = is_connection_fault(&error);
        let failure = failure::failure(connection.server.as_ref().unwrap_or(&self.name), error);
        if is_connection_fault {
            self.discard(connection, &failure);
        }
        // A cluster handles a redirect itself; a single server that redirects is a node that was misnamed.
        match role {
            NodeRole::Node | NodeRole::Asking if is_redirect => failure,
            NodeRole::Single if is_redirect => self.noted(failure.with_kind(ErrorKind::Denied)),
            _ => self.noted(failure),
        }
    }

    fn noted(&self, failure: BackendError) -> BackendError {
        self.faults.failed(&failure, Instant::now());
        failure
    }

    /// Connects, unless there is a connection.
    pub(super) async fn connect(&self, until: Instant) -> Result<(), BackendError> {
        self.connection(until).await.map(drop).map_err(|failure| self.noted(failure))
    }

    /// Reads the evictions now, whether that is due or not.
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

    /// Returns the connection of the present runtime, once it is made.
    async fn connection(&self, until: Instant) -> Result<Arc<Connection>, BackendError> {
        let runtime = timer::runtime()?;
        let mut connections = self.connections.lock();
        let entry = connections.each.iter().find(|entry| entry.runtime == runtime);
        if let Some(ready) = entry.and_then(|entry| entry.ready.as_ref())
            && !ready.is_unusable(self.patience())
        {
            return Ok(Arc::clone(ready));
        }
        let mut dropped = Vec::new();
        let found = self.find(&mut connections, runtime, &mut dropped);
        // Dropping may run code of the user, so it happens outside of the lock.
        drop(connections);
        drop(dropped);
        let (attempt, is_new) = found?;
        if is_new {
            // The background task drives the attempt if all calls that wait are dropped.
            let driven = attempt.outcome.clone();
            timer::spawn(async move { drop(driven.await) })?.detach();
        }
        match Box::pin(race(attempt.outcome, timer::until(until))).await {
            Either::Left(connection) => connection,
            Either::Right(()) => Err(self.too_late()),
        }
    }

    /// Returns the attempt under way, or a new one (`true`) that the caller has to run in the background.
    #[cold]
    fn find(
        &self,
        connections: &mut RuntimeConnections,
        runtime: RuntimeId,
        dropped: &mut Vec<RuntimeConnection>,
    ) -> Result<(ConnectAttempt, bool), BackendError> {
        if connections.is_closed {
            return Err(closed());
        }
        let (now, RuntimeConnections { each, pause, .. }) = (Instant::now(), connections);
        let at = each.iter().position(|entry| entry.runtime == runtime).unwrap_or_else(|| {
            dropped.extend(each.extract_if(.., |entry| entry.is_over()));
            if each.len() >= MAX_RUNTIMES {
                // The longest-known runtime loses its connection: runtimes that have ended without closing it
                // come first.
                dropped.push(each.remove(0));
            }
            each.push(RuntimeConnection { runtime, ready: None, attempt: None });
            each.len() - 1
        });
        let Some(entry) = each.get_mut(at) else { return Err(closed()) };
        if let Some(ConnectAttempt { outcome, began }) = &entry.attempt {
            match outcome.peek() {
                Some(Ok(connection)) if !connection.is_unusable(self.patience()) => {
                    entry.ready = Some(Arc::clone(connection));
                    return Ok((ConnectAttempt { outcome: outcome.clone(), began: *began }, false));
                }
                Some(Err(failure)) => pause.begin(failure.clone(), now),
                // An attempt that ended with a lost connection is not a failed one, so no pause begins.
                Some(Ok(_)) => {}
                // Its runtime may stand still; another attempt replaces it.
                None if now.saturating_duration_since(*began) > self.budgets.connect + GRACE => {}
                None => return Ok((ConnectAttempt { outcome: outcome.clone(), began: *began }, false)),
            }
        }
        dropped.push(RuntimeConnection { runtime, ready: entry.ready.take(), attempt: entry.attempt.take() });
        if let Some(failure) = pause.cause(now) {
            return Err(failure);
        }
        let (source, known, budget) = (self.source.clone(), self.known.clone(), self.budgets.connect);
        let connect = async move { source.connect(budget, &known).await.map(Arc::new) };
        let outcome =
            SharedFuture::or_else(ErrorKind::Unavailable, "connecting panicked; nothing was sent", connect);
        let attempt = ConnectAttempt { outcome, began: now };
        entry.attempt = Some(attempt.clone());
        Ok((attempt, true))
    }

    /// Records that a connection answered its first call, which ends the pause.
    #[cold]
    fn note_useful(&self, connection: &Connection) {
        connection.has_answered.store(true, Ordering::Relaxed);
        self.connections.lock().pause.end();
    }

    /// Discards a connection. If it is the second in a row that never answered a call, a pause precedes the
    /// next attempt.
    #[cold]
    fn discard(&self, connection: &Arc<Connection>, failure: &BackendError) {
        let mut connections = self.connections.lock();
        let entry = connections.each.iter_mut().find(|entry| entry.has(connection));
        let dropped = entry.map(|entry| (entry.ready.take(), entry.attempt.take()));
        // Only the call that removes the connection counts the loss: others find it gone.
        if dropped.is_some() && !connection.has_answered.load(Ordering::Relaxed) {
            connections.pause.lost(failure.clone(), Instant::now());
        }
        drop(connections);
        drop(dropped);
    }

    /// Closes all connections; later calls fail.
    pub(super) fn close(&self) {
        let mut connections = self.connections.lock();
        connections.is_closed = true;
        let dropped = std::mem::take(&mut connections.each);
        drop(connections);
        drop(dropped);
    }

    /// Returns how long a connection may be silent: longer than a call waits, since its answer may be on its
    /// way.
    fn patience(&self) -> Duration {
        self.budgets.call + SPARE
    }

    fn too_late(&self) -> BackendError {
        let words = "not connected before the call's deadline; nothing was sent";
        failure::of(&self.name, ErrorKind::Unavailable, words)
    }
}

impl RuntimeConnection {
    fn has(&self, connection: &Arc<Connection>) -> bool {
        let made = self.attempt.as_ref().and_then(|attempt| attempt.outcome.peek()?.as_ref().ok());
        self.ready.iter().chain(made).any(|it| Arc::ptr_eq(it, connection))
    }

    /// Returns whether its connection is closed, as that of a runtime that has ended is.
    fn is_over(&self) -> bool {
        let is_closed = |it: &Arc<Connection>| it.wire.as_ref().is_some_and(|wire| wire.is_closed());
        self.ready.as_ref().is_some_and(is_closed)
    }
}

/// Returns whether the connection is to blame: it broke, or leads to a server that is not, or no longer, the
/// right one. A slow connection may still be good.
fn is_connection_fault(error: &RedisError) -> bool {
    failure::is_not_sent(error)
        || (!error.is_timeout() && (error.is_unrecoverable_error() || error.is_io_error()))
        || matches!(error.kind(), Kind::Parse | Kind::Server(Server::ReadOnly | Server::MasterDown))
}

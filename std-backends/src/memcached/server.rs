//! One server: its connections, its share of the keys, and calls with a deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use traffik_core::storage::BackendError;
use traffik_core::{ErrorKind, Seed};
use traffik_runtimes::Connect;

use super::clock::ServerClock;
use super::command::{Command, ProbeCommand};
use super::failure::{CallFailure, failure};
use super::generation::Generation;
use super::pool::{Pool, PoolLease};
use crate::util::race::{Either, race};
use crate::util::random::random;

/// The end of a call, shared by all its steps.
pub(super) type End<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send + 'a)>;

/// A server and its connections.
pub(super) struct Server<R: Connect> {
    /// The name by which keys are spread; also the handle of the node.
    pub(super) name: Arc<str>,
    pub(super) pool: Arc<Pool<R>>,
    /// The seed of key weights on this server.
    seed: Seed,
}

impl<R: Connect> Server<R> {
    pub(super) fn new(name: Arc<str>, pool: Arc<Pool<R>>) -> Self {
        // The same on all hosts that know the server by this name.
        let seed = Seed::new(Seed::new(0).digest(&*name).as_u64());
        Self { name, pool, seed }
    }

    /// Returns the cached generation.
    pub(super) fn generation(&self) -> &Generation {
        &self.pool.host.generation
    }

    /// Returns the server's clock.
    pub(super) fn clock(&self) -> &ServerClock {
        &self.pool.host.clock
    }

    /// Returns the weight of a key here. The server with the highest weight keeps the key.
    pub(super) fn weight(&self, escaped: &str) -> u64 {
        self.seed.digest(escaped).as_u64()
    }

    /// Sends a command, and waits for the answer until the deadline.
    pub(super) async fn call<C: Command>(&self, command: C, end: End<'_>) -> Result<C::Answer, BackendError> {
        let (answer, lease) = self.exchange(&command, end).await?;
        lease.give_back();
        Ok(answer)
    }

    /// Returns a connection for one call.
    pub(super) async fn lease(&self, end: End<'_>) -> Result<PoolLease<R>, BackendError> {
        match race(self.pool.lease(), end).await {
            Either::Left(lease) => lease.map_err(|failure| self.note(failure)),
            Either::Right(()) => Err(self.unconnected()),
        }
    }

    /// Sends a command, and returns the answer with the connection.
    ///
    /// A connection may have been closed while it was idle. If nothing was sent on it, or the command changes
    /// nothing, the command goes out on another one; the last to be tried is one that was just made.
    pub(super) async fn exchange<C: Command>(
        &self,
        command: &C,
        mut end: End<'_>,
    ) -> Result<(C::Answer, PoolLease<R>), BackendError> {
        let mut idle = self.pool.settings.size;
        loop {
            // Inlined from `lease`, to keep the future of each call small.
            let mut lease = match race(self.pool.lease(), end.as_mut()).await {
                Either::Left(Ok(lease)) => lease,
                Either::Left(Err(failure)) => return Err(self.note(failure)),
                Either::Right(()) => return Err(self.unconnected()),
            };
            lease.wire.begin();
            let call_failure = match race(command.ask(&mut lease.wire), end.as_mut()).await {
                Either::Left(Ok(answer)) => {
                    self.pool.host.faults.answered(Instant::now);
                    return Ok((answer, lease));
                }
                Either::Left(Err(error)) => CallFailure::Broken(error),
                Either::Right(()) => CallFailure::Late,
            };
            let may_have_changed = C::CHANGES && lease.wire.is_sent;
            let is_stale = call_failure.is_broken() && !lease.is_new();
            if may_have_changed || !is_stale || idle == 0 {
                return Err(self.failed(lease, call_failure, may_have_changed));
            }
            idle -= 1;
        }
    }

    /// Ends a failed call, and returns, keeps or closes its connection.
    #[cold]
    fn failed(&self, lease: PoolLease<R>, call_failure: CallFailure, may_have_changed: bool) -> BackendError {
        let (is_broken, is_late) = (call_failure.is_broken(), matches!(call_failure, CallFailure::Late));
        let failure = self.note(call_failure.failure(&self.pool.host.title, may_have_changed));
        if is_late {
            lease.abandon();
        } else if failure.kind() == ErrorKind::Full {
            // A refusal is a whole answer, so the connection is clean.
            lease.give_back();
        } else if is_broken && lease.is_new() {
            self.pool.note_early_break(&lease.wire, &failure);
        }
        failure
    }

    /// Returns the failure of a call that got no answer in time.
    pub(super) fn late(&self, may_have_changed: bool) -> BackendError {
        self.note(CallFailure::Late.failure(&self.pool.host.title, may_have_changed))
    }

    #[cold]
    fn unconnected(&self) -> BackendError {
        let is_connected = self.pool.is_connected();
        let cause = if is_connected { "no connection became free in time" } else { "not connected in time" };
        self.note(failure(ErrorKind::Unavailable, &self.pool.host.title, cause))
    }

    /// Records a failure of the server.
    fn note(&self, failure: BackendError) -> BackendError {
        self.pool.host.faults.failed(&failure, Instant::now());
        failure
    }

    /// Connects, surveys the server, and checks that it accepts writes: adds an item whose name begins with
    /// `probe`, for a second.
    pub(super) async fn ready(&self, probe: &str, mut end: End<'_>) -> Result<(), BackendError> {
        let _ = self.refresh_generation(true, end.as_mut()).await?;
        self.pool.fill();
        // As long as the item of a count, and a new name each time: a server without room removes the old
        // item of a name, and would then have room for the probe.
        let (bytes, name) = (b"000000000000000", format!("{probe}{{{:04x}}}", random() as u16));
        self.call(ProbeCommand { name: &name, bytes, expiry: 1 }, end).await?;
        // There may be room for this item but none for the items of keys. Calls have recorded that as a
        // fault.
        let full = self.pool.host.faults.cause().filter(|cause| cause.kind() == ErrorKind::Full);
        full.map_or(Ok(()), Err)
    }
}

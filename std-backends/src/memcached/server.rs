//! One server: its connections, its share of the keys, and calls with a deadline.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use traffik_core::storage::BackendError;
use traffik_core::{ErrorKind, Seed};
use traffik_runtimes::Connect;

use super::clock::ServerClock;
use super::command::{Command, Probe};
use super::failure::{Trouble, failure};
use super::generation::Generation;
use super::pool::{Lease, Pool};
use crate::util::race::{Either, race};
use crate::util::random::random;

/// The end of a call, which all its steps share.
pub(super) type End<'a> = Pin<&'a mut (dyn Future<Output = ()> + Send + 'a)>;

pub(super) struct Server<R: Connect> {
    /// By which keys are weighed, and the handle of the node.
    pub(super) name: Arc<str>,
    pub(super) pool: Arc<Pool<R>>,
    /// What weighs keys for this server.
    seed: Seed,
}

impl<R: Connect> Server<R> {
    pub(super) fn new(name: Arc<str>, pool: Arc<Pool<R>>) -> Self {
        // The same wherever it is known by the same name.
        let seed = Seed::new(Seed::new(0).digest(&*name).as_u64());
        Self { name, pool, seed }
    }

    /// The generation, as far as it is known.
    pub(super) fn generation(&self) -> &Generation {
        &self.pool.host.generation
    }

    /// The time.
    pub(super) fn clock(&self) -> &ServerClock {
        &self.pool.host.clock
    }

    /// How much a key belongs here: it is kept where that is most.
    pub(super) fn weight(&self, escaped: &str) -> u64 {
        self.seed.digest(escaped).as_u64()
    }

    /// Asks, and waits for the answer until the deadline.
    pub(super) async fn call<C: Command>(&self, command: C, end: End<'_>) -> Result<C::Answer, BackendError> {
        let (answer, lease) = self.exchange(&command, end).await?;
        lease.give_back();
        Ok(answer)
    }

    /// A connection for one call.
    pub(super) async fn lease(&self, end: End<'_>) -> Result<Lease<R>, BackendError> {
        match race(self.pool.lease(), end).await {
            Either::Left(lease) => lease.map_err(|failure| self.note(failure)),
            Either::Right(()) => Err(self.unconnected()),
        }
    }

    /// Asks, and returns the connection with the answer.
    ///
    /// A connection that lay idle may have been closed meanwhile. If nothing was sent on it, or nothing that
    /// changes anything, another one is asked, until that is one which has just been made.
    pub(super) async fn exchange<C: Command>(
        &self,
        command: &C,
        mut end: End<'_>,
    ) -> Result<(C::Answer, Lease<R>), BackendError> {
        let mut idle = self.pool.settings.size;
        loop {
            // As `lease` does, without a future more on the way of each call.
            let mut lease = match race(self.pool.lease(), end.as_mut()).await {
                Either::Left(Ok(lease)) => lease,
                Either::Left(Err(failure)) => return Err(self.note(failure)),
                Either::Right(()) => return Err(self.unconnected()),
            };
            lease.wire.begin();
            let trouble = match race(command.ask(&mut lease.wire), end.as_mut()).await {
                Either::Left(Ok(answer)) => {
                    self.pool.host.faults.answered(Instant::now);
                    return Ok((answer, lease));
                }
                Either::Left(Err(error)) => Trouble::Broken(error),
                Either::Right(()) => Trouble::Late,
            };
            let may_have_changed = C::CHANGES && lease.wire.is_sent;
            let is_stale = trouble.is_broken() && !lease.is_new();
            if may_have_changed || !is_stale || idle == 0 {
                return Err(self.failed(lease, trouble, may_have_changed));
            }
            idle -= 1;
        }
    }

    /// Ends a call that failed.
    #[cold]
    fn failed(&self, lease: Lease<R>, trouble: Trouble, may_have_changed: bool) -> BackendError {
        let (is_broken, is_late) = (trouble.is_broken(), matches!(trouble, Trouble::Late));
        let failure = self.note(trouble.failure(&self.pool.host.title, may_have_changed));
        if is_late {
            lease.be_late();
        } else if failure.kind() == ErrorKind::Full {
            // It has answered all there was to answer.
            lease.give_back();
        } else if is_broken && lease.is_new() {
            self.pool.was_useless(&lease.wire, &failure);
        }
        failure
    }

    /// Returns the failure of a call that had no answer in time, wherever it was.
    pub(super) fn late(&self, may_have_changed: bool) -> BackendError {
        self.note(Trouble::Late.failure(&self.pool.host.title, may_have_changed))
    }

    #[cold]
    fn unconnected(&self) -> BackendError {
        let is_connected = self.pool.is_connected();
        let cause = if is_connected { "no connection came free in time" } else { "not connected in time" };
        self.note(failure(ErrorKind::Unavailable, &self.pool.host.title, cause))
    }

    /// Notes a failure of the server.
    fn note(&self, failure: BackendError) -> BackendError {
        self.pool.host.faults.failed(&failure, Instant::now());
        failure
    }

    /// Connects, and asks for the generation, the time, and what was given up; then whether the server can
    /// write, to an item whose name begins like this, and which it keeps for a moment.
    pub(super) async fn ready(&self, probe: &str, mut end: End<'_>) -> Result<(), BackendError> {
        let _ = self.look(true, end.as_mut()).await?;
        self.pool.fill();
        // As long as the item of a count. A name of its own each time: a server that finds no room for an
        // item removes what was there, and would have room for it then.
        let (bytes, name) = (b"000000000000000", format!("{probe}{{{:04x}}}", random() as u16));
        self.call(Probe { name: &name, bytes, expiry: 1 }, end).await?;
        // There may be room for this item, and none for those of keys.
        let full = self.pool.host.faults.cause().filter(|cause| cause.kind() == ErrorKind::Full);
        full.map_or(Ok(()), Err)
    }
}

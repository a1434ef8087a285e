//! Attempts to connect, each in the background with a budget of its own.
//!
//! A call starts an attempt and waits for it until its own deadline. The attempt continues, and its
//! connection serves the next call. While no connection is open there is one attempt, and after 500 ms
//! without a result a second one beside it, whose packets may arrive where the system repeats lost ones only
//! after seconds. Once a connection is open, there are as many attempts as calls wait.

use std::pin::pin;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::future::{AbortRegistration, Abortable};
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_runtimes::Connect;

use super::super::failure::failure;
use super::super::host::{Host, can_count};
use super::super::wire::Wire;
use super::Pool;
use super::mailbox::Delivery;
use super::state::ConnectStep;
use crate::util::evictions::PATIENCE;
use crate::util::race::{Either, race};

/// The outcome of an attempt. `Err(None)` is a late answer that never came, which is no failure to connect.
type ConnectResult<T> = Result<Box<Wire<T>>, Option<ConnectFailure>>;

/// The failure of an attempt.
struct ConnectFailure {
    failure: BackendError,
    /// Whether a connection was made and broke before its first answer.
    broke: bool,
}

impl<R: Connect> Pool<R> {
    /// Starts enough attempts to reach the minimum of connections, without waiting for them.
    pub(in super::super) fn fill(self: &Arc<Self>) {
        loop {
            let (mut state, now) = (self.state(), Instant::now());
            let is_enough = state.open + state.attempts.len() >= self.settings.minimum;
            if is_enough || state.is_closed || state.growth_pause.cause(now).is_some() {
                return;
            }
            let step = state.begin(now);
            drop(state);
            self.take_step(step);
        }
    }

    /// Starts the attempt of a step.
    pub(super) fn take_step(self: &Arc<Self>, step: ConnectStep) {
        let ConnectStep::Begin(number, registration) = step else { return };
        let (runtime, host, address) = (self.runtime.clone(), self.host.clone(), self.address.clone());
        let budget = self.settings.connect_timeout;
        self.attempt((number, registration), async move {
            let made = race(make(&runtime, &address, &host), pin!(runtime.sleep(budget))).await;
            match made {
                Either::Left(made) => made,
                Either::Right(()) => {
                    let cause = format!("no connection within {budget:?}");
                    let failure = failure(ErrorKind::Unavailable, &host.title, cause);
                    Err(Some(ConnectFailure { failure, broke: false }))
                }
            }
        });
    }

    /// Runs an attempt in the background of the runtime.
    fn attempt(
        self: &Arc<Self>,
        (number, registration): (u64, AbortRegistration),
        attempt: impl Future<Output = ConnectResult<R::Stream>> + Send + 'static,
    ) {
        // Weak, so that an attempt does not keep the pool of a dropped storage alive.
        let pool = Arc::downgrade(self);
        self.runtime.spawn(async move {
            if let Ok(made) = Abortable::new(attempt, registration).await
                && let Some(pool) = pool.upgrade()
            {
                pool.finish_attempt(number, made);
            }
        });
    }

    /// Waits in the background for an answer that was too late for its call, and then reuses the connection.
    pub(super) fn recover(self: &Arc<Self>, mut wire: Box<Wire<R::Stream>>, time: Duration) {
        let ConnectStep::Begin(number, registration) = self.state().begin(Instant::now()) else { return };
        let runtime = self.runtime.clone();
        self.attempt((number, registration), async move {
            match race(wire.drain(), pin!(runtime.sleep(time))).await {
                Either::Left(Ok(())) => Ok(wire),
                Either::Left(Err(_)) | Either::Right(()) => Err(None),
            }
        });
    }

    /// Ends an attempt. Its connection goes to the first call in the queue. After a failure all queued calls
    /// fail, unless other connections serve them.
    fn finish_attempt(self: &Arc<Self>, number: u64, made: ConnectResult<R::Stream>) {
        let mut state = self.state();
        if !state.end(number) || state.is_closed {
            return;
        }
        let now = Instant::now();
        let (mut woken, mut spare) = (Vec::new(), Vec::new());
        match made {
            Ok(mut wire) => {
                wire.attempt = number;
                state.open += 1;
                state.growth_pause.end();
                woken.extend(state.deliver(wire, now));
                spare = state.take_expired(now, &self.settings);
            }
            Err(None) => {}
            Err(Some(ConnectFailure { failure, .. })) if state.open > 0 => {
                state.growth_pause.begin(failure, now);
            }
            // A single early break is tried again before a call fails.
            Err(Some(ConnectFailure { broke: true, .. })) if !state.breaks_again(number) => {}
            Err(Some(ConnectFailure { failure, .. })) => {
                state.pause.begin(failure.clone(), now);
                if state.waiting.is_empty() {
                    self.host.faults.failed(&failure, now);
                }
                let waiting = std::mem::take(&mut state.waiting);
                woken.extend(
                    waiting.iter().filter_map(|mailbox| mailbox.put(Delivery::Failed(failure.clone()))),
                );
            }
        }
        drop(state);
        drop(spare);
        woken.into_iter().for_each(Waker::wake);
        self.grow();
    }

    /// Starts as many attempts as queued calls need.
    fn grow(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            if state.is_closed || state.waiting.is_empty() {
                return;
            }
            let step = state.step(Instant::now(), &self.settings);
            drop(state);
            if !matches!(step, ConnectStep::Begin(..)) {
                return;
            }
            self.take_step(step);
        }
    }
}

/// Connects, and asks whether the server is recent enough.
async fn make<R: Connect>(runtime: &R, address: &str, host: &Host) -> ConnectResult<R::Stream> {
    let connect_failure = |failure, broke| Some(ConnectFailure { failure, broke });
    let connected = runtime.connect(address).await;
    let stream = connected
        .map_err(|error| connect_failure(failure(ErrorKind::Unavailable, &host.title, error), false))?;
    let mut wire = Box::new(Wire::new(stream));
    match host.greet(&mut wire, runtime.sleep(PATIENCE)).await {
        Ok(version) if can_count(&version) => Ok(wire),
        Ok(version) => {
            let cause = format!("memcached {version} is too old; use 1.6 or later");
            Err(connect_failure(failure(ErrorKind::Denied, &host.title, cause), false))
        }
        Err(call_failure) => {
            let broke = call_failure.is_broken();
            Err(connect_failure(call_failure.failure(&host.title, false), broke))
        }
    }
}

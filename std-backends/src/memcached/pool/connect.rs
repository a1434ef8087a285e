//! Attempts to connect: each in the background, with a budget of its own.
//!
//! A call starts an attempt and waits for it until its own deadline; the attempt goes on, and what it makes
//! serves the next call. While no connection is open there is one attempt at a time, and after [`SOON`]
//! without a result a second one beside it: what was lost on the way is asked for again long before the first
//! one's budget is over. Once a connection is open, as many are tried at once as calls wait.

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
use super::state::Step;
use super::turn::Come;
use crate::util::evictions::PATIENCE;
use crate::util::race::{Either, race};

/// The outcome of an attempt; an answer that does not come at all is no failure of its own.
type Made<T> = Result<Box<Wire<T>>, Option<Unmade>>;

/// Why no connection was made.
struct Unmade {
    failure: BackendError,
    /// Whether there was a connection, and it broke: as one that is cut at that moment does.
    broke: bool,
}

impl<R: Connect> Pool<R> {
    /// Begins as many attempts as lead to the connections that are to be kept, and waits for none of them.
    pub(in super::super) fn fill(self: &Arc<Self>) {
        loop {
            let (mut state, now) = (self.state(), Instant::now());
            let is_enough = state.open + state.attempts.len() >= self.settings.minimum;
            if is_enough || state.is_closed || state.settled.cause(now).is_some() {
                return;
            }
            let step = state.begin(now);
            drop(state);
            self.take_step(step);
        }
    }

    /// Begins the attempt of a step.
    pub(super) fn take_step(self: &Arc<Self>, step: Step) {
        let Step::Begin(number, registration) = step else { return };
        let (runtime, host, address) = (self.runtime.clone(), self.host.clone(), self.address.clone());
        let budget = self.settings.connect_timeout;
        self.attempt((number, registration), async move {
            let made = race(make(&runtime, &address, &host), pin!(runtime.sleep(budget))).await;
            match made {
                Either::Left(made) => made,
                Either::Right(()) => {
                    let cause = format!("no connection within {budget:?}");
                    let failure = failure(ErrorKind::Unavailable, &host.title, cause);
                    Err(Some(Unmade { failure, broke: false }))
                }
            }
        });
    }

    /// Runs an attempt in the background of the runtime.
    fn attempt(
        self: &Arc<Self>,
        (number, registration): (u64, AbortRegistration),
        attempt: impl Future<Output = Made<R::Stream>> + Send + 'static,
    ) {
        let pool = Arc::downgrade(self);
        self.runtime.spawn(async move {
            if let Ok(made) = Abortable::new(attempt, registration).await
                && let Some(pool) = pool.upgrade()
            {
                pool.made(number, made);
            }
        });
    }

    /// Waits in the background for an answer that is too late for its call: the connection is used again
    /// then.
    pub(super) fn recover(self: &Arc<Self>, mut wire: Box<Wire<R::Stream>>, time: Duration) {
        let Step::Begin(number, registration) = self.state().begin(Instant::now()) else { return };
        let runtime = self.runtime.clone();
        self.attempt((number, registration), async move {
            match race(wire.settle(), pin!(runtime.sleep(time))).await {
                Either::Left(Ok(())) => Ok(wire),
                Either::Left(Err(_)) | Either::Right(()) => Err(None),
            }
        });
    }

    /// Ends an attempt. A connection goes to the first call that waits; after a failure all of them fail,
    /// unless other connections serve them.
    fn made(self: &Arc<Self>, number: u64, made: Made<R::Stream>) {
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
                state.settled.end();
                woken.extend(state.place(wire, now));
                spare = state.spare(now, &self.settings);
            }
            Err(None) => {}
            Err(Some(Unmade { failure, .. })) if state.open > 0 => {
                state.settled.begin(failure, now);
            }
            // Tried again, before a call fails.
            Err(Some(Unmade { broke: true, .. })) if !state.breaks_again(number) => {}
            Err(Some(Unmade { failure, .. })) => {
                state.pause.begin(failure.clone(), now);
                if state.waiting.is_empty() {
                    self.host.faults.failed(&failure, now);
                }
                let waiting = std::mem::take(&mut state.waiting);
                woken.extend(waiting.iter().filter_map(|turn| turn.put(Come::Failed(failure.clone()))));
            }
        }
        drop(state);
        drop(spare);
        woken.into_iter().for_each(Waker::wake);
        self.grow();
    }

    /// Begins as many attempts as calls wait for.
    fn grow(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            if state.is_closed || state.waiting.is_empty() {
                return;
            }
            let step = state.step(Instant::now(), &self.settings);
            drop(state);
            if !matches!(step, Step::Begin(..)) {
                return;
            }
            self.take_step(step);
        }
    }
}

/// Makes a connection, and asks on it whether the server can do what is needed.
async fn make<R: Connect>(runtime: &R, address: &str, host: &Host) -> Made<R::Stream> {
    let unmade = |failure, broke| Some(Unmade { failure, broke });
    let connected = runtime.connect(address).await;
    let stream =
        connected.map_err(|error| unmade(failure(ErrorKind::Unavailable, &host.title, error), false))?;
    let mut wire = Box::new(Wire::new(stream));
    match host.greet(&mut wire, runtime.sleep(PATIENCE)).await {
        Ok(version) if can_count(&version) => Ok(wire),
        Ok(version) => {
            let cause = format!("memcached {version} cannot count; 1.6 or later is needed");
            Err(unmade(failure(ErrorKind::Denied, &host.title, cause), false))
        }
        Err(trouble) => {
            let broke = trouble.is_broken();
            Err(unmade(trouble.failure(&host.title, false), broke))
        }
    }
}

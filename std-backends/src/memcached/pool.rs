//! Connections to one server: each is used by one call at a time, and by no other after a call that did not end well.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use traffik_core::storage::{ErrorKind, Failure};
use traffik_runtimes::Connect;

use super::command::{Command, Version};
use super::wire::Wire;
use crate::util::mutex::lock;
use crate::util::shutdown::closed;

/// How many connections there may be, and for how long they lie idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// The most at a time.
    pub(super) size: usize,
    /// How many are kept also if nobody uses them.
    pub(super) minimum: usize,
    /// For how long others are.
    pub(super) idle: Duration,
}

pub(super) struct Pool<R: Connect> {
    pub(super) runtime: R,
    pub(super) address: String,
    pub(super) settings: Settings,
    state: Mutex<State<R::Stream>>,
}

struct State<T> {
    /// The one that was used last comes last, and is used next.
    idle: Vec<Idle<T>>,
    /// How many are in use, or being made.
    leased: usize,
    /// Who waits for one to come free, the first one first.
    waiting: VecDeque<Arc<Turn>>,
    /// When the last attempt to connect failed, and how.
    failed: Option<(Instant, Failure)>,
    is_closed: bool,
}

struct Idle<T> {
    wire: Box<Wire<T>>,
    since: Instant,
}

/// How long after a failed attempt to connect calls are told of it at once, instead of trying again.
const PAUSE: Duration = Duration::from_millis(50);

/// After how long an idle connection is asked whether it still leads somewhere.
const CHECKED: Duration = Duration::from_secs(5);

impl<R: Connect> Pool<R> {
    pub(super) fn new(runtime: R, address: String, settings: Settings) -> Arc<Self> {
        let state =
            State { idle: Vec::new(), leased: 0, waiting: VecDeque::new(), failed: None, is_closed: false };
        Arc::new(Self { runtime, address, settings, state: Mutex::new(state) })
    }

    /// A connection for one call: an idle one, or a new one. Who came first is served first.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<R>, Failure> {
        let permit = self.permit().await?;
        while let Some(Idle { mut wire, since }) = self.take_idle() {
            // The system may know already that the server has gone, or that something came that nobody asked for.
            if !wire.is_idle() {
                continue;
            }
            if since.elapsed() > CHECKED {
                wire.begin();
                if Box::pin(Version.ask(&mut wire)).await.is_err() {
                    continue;
                }
            }
            return Ok(Lease { wire, permit });
        }
        let wire = Box::new(Wire::new(Box::pin(self.connect()).await?));
        Ok(Lease { wire, permit })
    }

    async fn connect(&self) -> Result<R::Stream, Failure> {
        if let Some((at, failure)) = &self.state().failed
            && at.elapsed() < PAUSE
        {
            return Err(failure.clone());
        }
        let connected = self.runtime.connect(&self.address).await.map_err(|error| {
            let message = format!("cannot connect to {}, nothing was charged: {error}", self.address);
            Failure::new(ErrorKind::Unavailable, message)
        });
        self.state().failed = connected.as_ref().err().map(|failure| (Instant::now(), failure.clone()));
        connected
    }

    /// Waits for its turn if all connections are in use.
    async fn permit(self: &Arc<Self>) -> Result<Permit<R>, Failure> {
        let turn = {
            let mut state = self.state();
            if state.is_closed {
                return Err(closed());
            }
            if state.leased < self.settings.size && state.waiting.is_empty() {
                state.leased += 1;
                return Ok(Permit { pool: self.clone() });
            }
            let turn = Arc::new(Turn::default());
            state.waiting.push_back(turn.clone());
            turn
        };
        Waiting { pool: self, turn }.come().await
    }

    fn take_idle(&self) -> Option<Idle<R::Stream>> {
        self.state().idle.pop()
    }

    /// Keeps a connection for the next call; of those that nobody needs for long, no more than the minimum.
    fn keep(&self, wire: Box<Wire<R::Stream>>) {
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            return;
        }
        state.idle.push(Idle { wire, since: Instant::now() });
        // This one is idle, and its call still has the right to it.
        let spare = (state.idle.len() + state.leased).saturating_sub(self.settings.minimum + 1);
        let old = state.idle.iter().take_while(|it| it.since.elapsed() > self.settings.idle).count();
        let dropped: Vec<_> = state.idle.drain(..old.min(spare)).collect();
        drop(state);
        drop(dropped);
    }

    /// Passes the right to use a connection on.
    fn release(&self) {
        let mut state = self.state();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.leased = state.leased.saturating_sub(1);
        }
        drop(state);
        next.iter().for_each(|turn| turn.come(Come::Now));
    }

    /// No call is made from now on.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let (idle, waiting) = (std::mem::take(&mut state.idle), std::mem::take(&mut state.waiting));
        drop(state);
        drop(idle);
        waiting.into_iter().for_each(|turn| turn.come(Come::Never));
    }

    fn state(&self) -> MutexGuard<'_, State<R::Stream>> {
        lock(&self.state)
    }
}

/// A connection that one call uses. It is closed when this is dropped, unless the call has said that all of its answer
/// was taken: whatever else may have happened to it, nobody is to read what was meant for another.
pub(super) struct Lease<R: Connect> {
    pub(super) wire: Box<Wire<R::Stream>>,
    // Last, so that the next call finds the connection when it is told to go on.
    permit: Permit<R>,
}

impl<R: Connect> Lease<R> {
    /// Its call has been answered, and nothing of the answer is left.
    pub(super) fn give_back(self) {
        // In this order a connection that is not kept is closed before the next call is told to go on.
        let Self { permit, wire } = self;
        if wire.is_quiet() {
            permit.pool.keep(wire);
        }
    }
}

/// The right to use a connection.
struct Permit<R: Connect> {
    pool: Arc<Pool<R>>,
}

impl<R: Connect> Drop for Permit<R> {
    fn drop(&mut self) {
        self.pool.release();
    }
}

/// Whose turn is to come.
#[derive(Default)]
struct Turn(Mutex<(Come, Option<Waker>)>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Come {
    #[default]
    Later,
    Now,
    /// The pool has been closed.
    Never,
}

impl Turn {
    fn come(&self, come: Come) {
        let mut turn = lock(&self.0);
        turn.0 = come;
        let waker = turn.1.take();
        drop(turn);
        waker.into_iter().for_each(Waker::wake);
    }

    fn has_come(&self, waker: Option<&Waker>) -> Come {
        let mut turn = lock(&self.0);
        turn.1 = waker.cloned();
        turn.0
    }
}

/// Somebody in the queue. Dropped there, it leaves the queue; dropped when its turn had come, it passes that on.
struct Waiting<'a, R: Connect> {
    pool: &'a Arc<Pool<R>>,
    turn: Arc<Turn>,
}

impl<R: Connect> Waiting<'_, R> {
    async fn come(self) -> Result<Permit<R>, Failure> {
        let come = poll_fn(|context| match self.turn.has_come(Some(context.waker())) {
            Come::Later => Poll::Pending,
            come => Poll::Ready(come),
        });
        if come.await == Come::Never {
            return Err(closed());
        }
        let pool = self.pool.clone();
        // Taken, so there is nothing to pass on.
        self.turn.come(Come::Never);
        Ok(Permit { pool })
    }
}

impl<R: Connect> Drop for Waiting<'_, R> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.waiting.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
        let come = self.turn.has_come(None);
        drop(state);
        if come == Come::Now {
            self.pool.release();
        }
    }
}

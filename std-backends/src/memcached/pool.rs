//! Connections to one server: each is used by one call at a time, and by no other after a call that did not
//! end well.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use traffik_core::storage::BackendError;
use traffik_runtimes::Connect;

pub(super) use self::state::Settings;
use self::state::{Idle, State, Step, Useless};
use self::turn::{Come, Turn};
use super::command::version;
use super::host::Host;
use super::wire::Wire;
use crate::util::evictions::PATIENCE;
use crate::util::mutex::lock;
use crate::util::race::{Either, race};
use crate::util::shutdown::closed;

mod connect;
mod state;
mod turn;

pub(super) struct Pool<R: Connect> {
    pub(super) runtime: R,
    pub(super) settings: Settings,
    pub(super) host: Arc<Host>,
    address: String,
    state: Mutex<State<R::Stream>>,
}

/// After how long an idle connection is asked whether it still leads somewhere.
const CHECKED: Duration = Duration::from_secs(5);

/// After how long the runtime is given a turn before an idle connection is looked at: so it notices an end
/// that came meanwhile.
const NOTICED: Duration = Duration::from_millis(10);

impl<R: Connect> Pool<R> {
    pub(super) fn new(runtime: R, address: String, settings: Settings, host: Host) -> Arc<Self> {
        Arc::new(Self { runtime, settings, host: Arc::new(host), address, state: Mutex::default() })
    }

    /// A connection for one call: an idle one, or what comes first of one that is given back and a new one.
    /// The first to come is served first.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<R>, BackendError> {
        loop {
            let mut lease = match self.take_idle()? {
                Some((mut lease, idle)) => {
                    if idle >= NOTICED && !self.leads_somewhere(&mut lease, idle).await {
                        continue;
                    }
                    lease
                }
                None => Box::pin(self.wait()).await?,
            };
            // The system may know already that the server has gone, or that something came that nobody asked
            // for.
            if lease.wire.is_idle() {
                return Ok(lease);
            }
        }
    }

    /// Takes an idle connection, if there is one; tells for how long it was idle.
    fn take_idle(self: &Arc<Self>) -> Result<Option<(Lease<R>, Duration)>, BackendError> {
        let mut state = self.state();
        if state.is_closed {
            return Err(closed());
        }
        let Some(Idle { wire, since }) = state.idle.pop() else { return Ok(None) };
        drop(state);
        let now = Instant::now();
        let permit = Permit { pool: self.clone(), is_kept: false };
        Ok(Some((Lease { wire, since: now, was_idle: true, permit }, now.saturating_duration_since(since))))
    }

    fn leased(self: &Arc<Self>, wire: Box<Wire<R::Stream>>) -> Lease<R> {
        let permit = Permit { pool: self.clone(), is_kept: false };
        Lease { wire, since: Instant::now(), was_idle: false, permit }
    }

    /// Whether a connection that was idle for a while may be used. If it does not answer soon, none that was
    /// idle for so long is kept.
    async fn leads_somewhere(&self, lease: &mut Lease<R>, idle: Duration) -> bool {
        if idle < CHECKED {
            let mut has_yielded = false;
            let yielded = poll_fn(|context| {
                if std::mem::replace(&mut has_yielded, true) {
                    return Poll::Ready(());
                }
                context.waker().wake_by_ref();
                Poll::Pending
            });
            yielded.await;
            return true;
        }
        let asked = async {
            lease.wire.begin();
            race(version(&mut lease.wire, ""), pin!(self.runtime.sleep(PATIENCE))).await
        };
        if matches!(Box::pin(asked).await, Either::Left(Ok(_))) {
            return true;
        }
        let mut state = self.state();
        let stale = state.idle.iter().take_while(|it| it.since.elapsed() >= CHECKED).count();
        state.open = state.open.saturating_sub(stale);
        let dropped: Vec<_> = state.idle.drain(..stale).collect();
        drop(state);
        drop(dropped);
        false
    }

    /// Stands in line until a connection comes, and sees to it that one is made.
    async fn wait(self: &Arc<Self>) -> Result<Lease<R>, BackendError> {
        let waiting = {
            let mut state = self.state();
            // One may have come meanwhile.
            if let Some(Idle { wire, .. }) = state.idle.pop() {
                drop(state);
                return Ok(self.leased(wire));
            }
            let turn = Arc::new(Turn::default());
            state.waiting.push_back(turn.clone());
            Waiting { pool: self, turn }
        };
        loop {
            let step = {
                let mut state = self.state();
                if state.is_closed {
                    return Err(closed());
                }
                state.step(Instant::now(), &self.settings)
            };
            let come = match step {
                Step::Fail(failure) => return Err(failure),
                Step::Begin(..) => {
                    self.take_step(step);
                    continue;
                }
                Step::Wait(None) => waiting.turn.next().await,
                Step::Wait(Some(time)) => {
                    match race(waiting.turn.next(), pin!(self.runtime.sleep(time))).await {
                        Either::Left(come) => come,
                        Either::Right(()) => continue,
                    }
                }
            };
            match come {
                Come::Wire(wire) => return Ok(self.leased(wire)),
                Come::Failed(failure) => return Err(failure),
                Come::Look => {}
            }
        }
    }

    /// Whether any connection is open.
    pub(super) fn is_connected(&self) -> bool {
        self.state().open > 0
    }

    /// Notes that a connection broke before its first answer: if that goes on, calls pause.
    pub(super) fn was_useless(&self, wire: &Wire<R::Stream>, failure: &BackendError) {
        let mut state = self.state();
        if state.breaks_again(wire.attempt) {
            state.pause.begin(failure.clone(), Instant::now());
        }
    }

    /// Keeps a connection for the next call; `is_proved` if it has answered one.
    fn keep(&self, mut wire: Box<Wire<R::Stream>>, is_proved: bool) {
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            return;
        }
        if is_proved && std::mem::replace(&mut wire.is_fresh, false) {
            state.useless = Useless::default();
            state.pause.end();
        }
        let now = Instant::now();
        let (woken, spare) = (state.place(wire, now), state.spare(now, &self.settings));
        drop(state);
        drop(spare);
        woken.into_iter().for_each(Waker::wake);
    }

    /// No call is made from now on.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let (idle, attempts) = (std::mem::take(&mut state.idle), std::mem::take(&mut state.attempts));
        let waiting = std::mem::take(&mut state.waiting);
        let woken: Vec<_> = waiting.iter().filter_map(|turn| turn.put(Come::Failed(closed()))).collect();
        drop(state);
        drop((idle, attempts));
        woken.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State<R::Stream>> {
        lock(&self.state)
    }
}

/// A connection that one call uses. It is closed when this is dropped, unless the call has said that all of
/// its answer was taken: whatever else may have happened to it, nobody is to read what was meant for another.
pub(super) struct Lease<R: Connect> {
    pub(super) wire: Box<Wire<R::Stream>>,
    /// When its call began to use it.
    since: Instant,
    was_idle: bool,
    // Last, so that it is closed before another is made in its place.
    permit: Permit<R>,
}

impl<R: Connect> Lease<R> {
    pub(super) fn pool(&self) -> &Arc<Pool<R>> {
        &self.permit.pool
    }

    /// Whether it has just been made for this call.
    pub(super) fn is_new(&self) -> bool {
        !self.was_idle && self.wire.is_fresh
    }

    /// Its call has no answer in time. A call that had to wait for the connection, or has asked twice, had
    /// but a part of its time for this answer, which may be about to come: the connection is not given up for
    /// that.
    pub(super) fn be_late(self) {
        let Self { permit, wire, since, .. } = self;
        let timeout = permit.pool.settings.timeout;
        let rest = timeout.saturating_sub(since.elapsed());
        if rest > timeout / 8 && wire.has_sent() {
            permit.pool.recover(wire, rest);
        }
    }

    /// Nothing was asked on it.
    pub(super) fn put_back(self) {
        let Self { mut permit, wire, .. } = self;
        permit.is_kept = true;
        permit.pool.keep(wire, false);
    }

    /// Its call has been answered, and nothing of the answer is left.
    pub(super) fn give_back(self) {
        let Self { mut permit, wire, .. } = self;
        if wire.is_quiet() {
            permit.is_kept = true;
            permit.pool.keep(wire, true);
        }
    }
}

/// The place of a connection that is open.
struct Permit<R: Connect> {
    pool: Arc<Pool<R>>,
    is_kept: bool,
}

impl<R: Connect> Drop for Permit<R> {
    fn drop(&mut self) {
        if !self.is_kept {
            let woken = self.pool.state().ended();
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

/// Somebody in line. Dropped, it leaves the line, and what has come to it goes to the next.
struct Waiting<'a, R: Connect> {
    pool: &'a Arc<Pool<R>>,
    turn: Arc<Turn<R::Stream>>,
}

impl<R: Connect> Drop for Waiting<'_, R> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.waiting.retain(|turn| !Arc::ptr_eq(turn, &self.turn));
        let come = self.turn.take();
        // Whoever is next sees to it that there is a connection.
        let woken = if matches!(come, Some(Come::Look)) || state.open == 0 { state.nudge() } else { None };
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        if let Some(Come::Wire(wire)) = come {
            self.pool.keep(wire, false);
        }
    }
}

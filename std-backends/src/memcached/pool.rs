//! The connections to one server. One call at a time uses a connection, and none uses it after a call that
//! left part of an answer unread.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use traffik_core::storage::BackendError;
use traffik_runtimes::Connect;

use self::mailbox::{Delivery, Mailbox};
pub(super) use self::state::PoolSettings;
use self::state::{BrokenStreak, ConnectStep, IdleConnection, PoolState};
use super::command::version;
use super::host::Host;
use super::wire::Wire;
use crate::util::evictions::PATIENCE;
use crate::util::mutex::lock;
use crate::util::race::{Either, race};
use crate::util::shutdown::closed;

mod connect;
mod mailbox;
mod state;

/// A pool of connections to one server.
pub(super) struct Pool<R: Connect> {
    pub(super) runtime: R,
    pub(super) settings: PoolSettings,
    pub(super) host: Arc<Host>,
    address: String,
    state: Mutex<PoolState<R::Stream>>,
}

/// Idle time after which a connection is probed before use.
const PROBE_AFTER: Duration = Duration::from_secs(5);

/// Idle time after which a call first yields to the runtime, so that the runtime notices an end of the stream
/// that came meanwhile.
const YIELD_AFTER: Duration = Duration::from_millis(10);

impl<R: Connect> Pool<R> {
    pub(super) fn new(runtime: R, address: String, settings: PoolSettings, host: Host) -> Arc<Self> {
        Arc::new(Self { runtime, settings, host: Arc::new(host), address, state: Mutex::default() })
    }

    /// Returns a connection for one call: an idle one, else whichever comes first of a returned and a new
    /// one. Calls are served in the order in which they came.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<PoolLease<R>, BackendError> {
        loop {
            let mut lease = match self.take_idle()? {
                Some((mut lease, idle)) => {
                    if idle >= YIELD_AFTER && !self.is_alive(&mut lease, idle).await {
                        continue;
                    }
                    lease
                }
                None => Box::pin(self.wait()).await?,
            };
            // The system may know already that the server closed the connection, or sent bytes without a
            // command.
            if lease.wire.is_idle() {
                return Ok(lease);
            }
        }
    }

    /// Takes the idle connection that was used last, with the time for which it was idle.
    fn take_idle(self: &Arc<Self>) -> Result<Option<(PoolLease<R>, Duration)>, BackendError> {
        let mut state = self.state();
        if state.is_closed {
            return Err(closed());
        }
        let Some(IdleConnection { wire, since }) = state.idle.pop() else { return Ok(None) };
        // Unlocked before the clock is read: the lock is held for a few moves only.
        drop(state);
        let now = Instant::now();
        let slot = ConnectionSlot { pool: self.clone(), is_kept: false };
        Ok(Some((PoolLease { wire, since: now, was_idle: true, slot }, now.saturating_duration_since(since))))
    }

    fn leased(self: &Arc<Self>, wire: Box<Wire<R::Stream>>) -> PoolLease<R> {
        let slot = ConnectionSlot { pool: self.clone(), is_kept: false };
        PoolLease { wire, since: Instant::now(), was_idle: false, slot }
    }

    /// Returns whether a connection that was idle for a while may be used. If it does not answer a probe
    /// within 100 ms, also drops all others that were idle as long.
    async fn is_alive(&self, lease: &mut PoolLease<R>, idle: Duration) -> bool {
        if idle < PROBE_AFTER {
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
        let stale = state.idle.iter().take_while(|it| it.since.elapsed() >= PROBE_AFTER).count();
        state.open = state.open.saturating_sub(stale);
        // `idle` is sorted by `since`, so the stale ones come first. Dropped unlocked: closing may run code
        // of the runtime.
        let dropped: Vec<_> = state.idle.drain(..stale).collect();
        drop(state);
        drop(dropped);
        false
    }

    /// Queues a call until a connection is delivered, and starts attempts to connect.
    async fn wait(self: &Arc<Self>) -> Result<PoolLease<R>, BackendError> {
        let waiting = {
            let mut state = self.state();
            // Looked at again under the lock that queues: a connection may have been returned meanwhile.
            if let Some(IdleConnection { wire, .. }) = state.idle.pop() {
                drop(state);
                return Ok(self.leased(wire));
            }
            let mailbox = Arc::new(Mailbox::default());
            state.waiting.push_back(mailbox.clone());
            PoolWaiter { pool: self, mailbox }
        };
        loop {
            let step = {
                let mut state = self.state();
                if state.is_closed {
                    return Err(closed());
                }
                state.step(Instant::now(), &self.settings)
            };
            let delivery = match step {
                ConnectStep::Fail(failure) => return Err(failure),
                // Started outside of the lock, since a runtime may poll a spawned future at once.
                ConnectStep::Begin(..) => {
                    self.take_step(step);
                    continue;
                }
                ConnectStep::Wait(None) => waiting.mailbox.next().await,
                ConnectStep::Wait(Some(time)) => {
                    match race(waiting.mailbox.next(), pin!(self.runtime.sleep(time))).await {
                        Either::Left(delivery) => delivery,
                        Either::Right(()) => continue,
                    }
                }
            };
            match delivery {
                Delivery::Wire(wire) => return Ok(self.leased(wire)),
                Delivery::Failed(failure) => return Err(failure),
                Delivery::Recheck => {}
            }
        }
    }

    /// Returns whether any connection is open.
    pub(super) fn is_connected(&self) -> bool {
        self.state().open > 0
    }

    /// Records that a connection broke before its first answer. If that happens repeatedly, calls pause.
    pub(super) fn note_early_break(&self, wire: &Wire<R::Stream>, failure: &BackendError) {
        let mut state = self.state();
        if state.breaks_again(wire.attempt) {
            state.pause.begin(failure.clone(), Instant::now());
        }
    }

    /// Keeps a connection for the next call. `has_answered` is false if no call was made on it.
    fn keep(&self, mut wire: Box<Wire<R::Stream>>, has_answered: bool) {
        let mut state = self.state();
        if state.is_closed {
            drop(state);
            return;
        }
        if has_answered && std::mem::replace(&mut wire.is_fresh, false) {
            state.broken_streak = BrokenStreak::default();
            state.pause.end();
        }
        let now = Instant::now();
        let (woken, spare) = (state.deliver(wire, now), state.take_expired(now, &self.settings));
        drop(state);
        drop(spare);
        // Wakers run other code, so they are called unlocked.
        woken.into_iter().for_each(Waker::wake);
    }

    /// Closes the pool: calls that wait fail, and so do later ones.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let (idle, attempts) = (std::mem::take(&mut state.idle), std::mem::take(&mut state.attempts));
        let waiting = std::mem::take(&mut state.waiting);
        // Delivered under the lock: a call that leaves the queue takes the same lock first.
        let woken: Vec<_> =
            waiting.iter().filter_map(|mailbox| mailbox.put(Delivery::Failed(closed()))).collect();
        drop(state);
        drop((idle, attempts));
        woken.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, PoolState<R::Stream>> {
        lock(&self.state)
    }
}

/// A connection that one call uses.
///
/// Dropping it closes the connection, unless the call has returned it after its whole answer. So no call ever
/// reads the answer to another.
pub(super) struct PoolLease<R: Connect> {
    pub(super) wire: Box<Wire<R::Stream>>,
    /// The time at which the call began to use it.
    since: Instant,
    was_idle: bool,
    // Last, so that the stream is closed before its place is free for another one.
    slot: ConnectionSlot<R>,
}

impl<R: Connect> PoolLease<R> {
    pub(super) fn pool(&self) -> &Arc<Pool<R>> {
        &self.slot.pool
    }

    /// Returns whether the connection was just made for this call.
    pub(super) fn is_new(&self) -> bool {
        !self.was_idle && self.wire.is_fresh
    }

    /// Ends a call that got no answer in time. A call that waited for the connection first, or that sent an
    /// earlier command, gave this answer only part of its timeout. The answer may be about to come, so the
    /// pool waits for it in the background.
    pub(super) fn abandon(self) {
        let Self { slot, wire, since, .. } = self;
        let timeout = slot.pool.settings.timeout;
        let rest = timeout.saturating_sub(since.elapsed());
        // The call started late on this connection if more than an eighth of its timeout is left.
        if rest > timeout / 8 && wire.has_sent() {
            slot.pool.recover(wire, rest);
        }
    }

    /// Returns the connection unused.
    pub(super) fn return_unused(self) {
        let Self { mut slot, wire, .. } = self;
        slot.is_kept = true;
        slot.pool.keep(wire, false);
    }

    /// Returns the connection after its call was answered, unless part of the answer is left.
    pub(super) fn give_back(self) {
        let Self { mut slot, wire, .. } = self;
        if wire.is_quiet() {
            slot.is_kept = true;
            slot.pool.keep(wire, true);
        }
    }
}

/// The count of one open connection. Dropping it frees the place, unless the connection was kept.
struct ConnectionSlot<R: Connect> {
    pool: Arc<Pool<R>>,
    is_kept: bool,
}

impl<R: Connect> Drop for ConnectionSlot<R> {
    fn drop(&mut self) {
        if !self.is_kept {
            let woken = self.pool.state().ended();
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

/// A call in the queue. Dropping it leaves the queue, and passes on a connection that was delivered to it.
struct PoolWaiter<'a, R: Connect> {
    pool: &'a Arc<Pool<R>>,
    mailbox: Arc<Mailbox<R::Stream>>,
}

impl<R: Connect> Drop for PoolWaiter<'_, R> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.waiting.retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
        let delivery = self.mailbox.take();
        // If this call was to look at the attempts, the next one in the queue does.
        let woken = if matches!(delivery, Some(Delivery::Recheck)) || state.open == 0 {
            state.wake_next()
        } else {
            None
        };
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        if let Some(Delivery::Wire(wire)) = delivery {
            self.pool.keep(wire, false);
        }
    }
}

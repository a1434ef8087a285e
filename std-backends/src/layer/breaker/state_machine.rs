//! The state machine of each node, shared by all users of a breaker.
//!
//! | from | to | by |
//! |---|---|---|
//! | closed | open | too many failures |
//! | open | half-open | the first call after the open time |
//! | half-open | closed | enough successful probes |
//! | half-open | open | a failed probe |
//! | any | forced open, forced closed, closed | `force_open`, `force_close`, `release` |

use std::iter;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU64;
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Clock, Timestamp};

use crate::layer::DeadlineExceeded;
use crate::layer::breaker::failure_tally::FailureTally;
use crate::layer::breaker::settings::BreakerSettings;
use crate::layer::breaker::state::{BreakerState, CircuitOpen, StateChange};
use crate::util::nodes::Nodes;
use crate::util::random::Random;
use crate::util::spin_lock::SpinLock;

/// The state that the clones of a breaker share.
pub(super) struct BreakerInner {
    pub(super) name: Arc<str>,
    pub(super) settings: BreakerSettings,
    pub(super) clock: Arc<dyn Clock + Send + Sync>,
    pub(super) listeners: Vec<Listener>,
    pub(super) random: Random,
    /// The storage as a whole, where it is a single node.
    pub(super) whole: BreakerNode,
    pub(super) nodes: Nodes<BreakerNode>,
    /// The number of changes so far, of all nodes.
    pub(super) changes: AtomicU64,
    pub(super) refused: AtomicU64,
}

pub(super) type Listener = Box<dyn Fn(&StateChange) + Send + Sync>;

/// The state machine of a node.
pub(super) struct BreakerNode {
    /// The name; `None` for the storage as a whole.
    name: Option<Arc<str>>,
    machine: SpinLock<Machine>,
}

/// The state of a node. Every change takes the lock of the node, so transitions never race.
struct Machine {
    state: BreakerState,
    /// The number of the last change. A call that began before it does not count.
    number: u64,
    /// The failure of refused calls. It is built once for each change, since a store that is down has many
    /// refused calls.
    refusal: Option<BackendError>,
    /// The failure that opened the breaker, while it is open or half-open.
    cause: Option<BackendError>,
    /// While half-open: whether a probe is under way, and the number of successful ones.
    probing: bool,
    successes: u32,
    tally: FailureTally,
}

impl BreakerNode {
    pub(super) fn new(name: Option<Arc<str>>) -> Self {
        let machine = Machine {
            state: BreakerState::Closed,
            number: 0,
            refusal: None,
            cause: None,
            probing: false,
            successes: 0,
            tally: FailureTally::default(),
        };
        Self { name, machine: SpinLock::new(machine) }
    }

    fn state(&self) -> BreakerState {
        self.machine.lock().state
    }

    fn report(&self) -> (Option<Arc<str>>, BreakerState, Option<BackendError>) {
        let machine = self.machine.lock();
        (self.name.clone(), machine.state, machine.cause.clone())
    }
}

/// The outcome of a call, as a breaker sees it.
enum Ending {
    Good,
    Bad(BackendError),
    /// Says nothing about the store.
    Unknown,
}

impl BreakerInner {
    /// Returns the state machine of a node. A new one takes over a forced state.
    pub(super) fn note(&self, node: &Arc<str>) -> Arc<BreakerNode> {
        self.nodes.get(node, |name| {
            let (new_node, state) = (BreakerNode::new(Some(name)), self.whole.state());
            // `Nodes` holds its lock while it calls this closure, and `force` takes the same lock: a new
            // node never misses a forced state.
            if matches!(state, BreakerState::ForcedOpen | BreakerState::ForcedClosed) {
                let mut machine = new_node.machine.lock();
                machine.state = state;
                drop(machine);
            }
            new_node
        })
    }

    pub(super) fn states(&self) -> Vec<(Option<Arc<str>>, BreakerState, Option<BackendError>)> {
        let mut states: Vec<_> = self.nodes.all().iter().map(|node| node.report()).collect();
        states.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        let whole = self.whole.report();
        let is_listed = match whole.1 {
            BreakerState::Closed | BreakerState::HalfOpen => states.is_empty(),
            // Once nodes are known, every call may name one, and none would end this state.
            BreakerState::Open(until) => states.is_empty() || until > self.clock.now(),
            BreakerState::ForcedOpen | BreakerState::ForcedClosed => true,
        };
        if is_listed {
            states.insert(0, whole);
        }
        states
    }

    /// Sets the state of all nodes at once.
    pub(super) fn force(&self, state: BreakerState) {
        let changes: Vec<_> = self.nodes.change(|nodes| {
            let nodes: Vec<_> = nodes.collect();
            let all = iter::once(&self.whole).chain(nodes.iter().map(|node| &**node));
            all.filter_map(|node| {
                let mut machine = node.machine.lock();
                let is_other = machine.state != state;
                let changed = is_other.then(|| self.change(node, &mut machine, state, None));
                machine.tally.clear();
                changed
            })
            .collect()
        });
        // Listeners run without any lock.
        changes.into_iter().for_each(|change| self.notify(Some(change)));
    }

    #[cold]
    fn refusal(&self, node: &BreakerNode, machine: &Machine) -> BackendError {
        let (breaker, node) = (Arc::clone(&self.name), node.name.clone());
        let open = CircuitOpen { breaker, node, state: machine.state, cause: machine.cause.clone() };
        BackendError::new(ErrorKind::Unavailable, open)
    }

    fn change(
        &self,
        node: &BreakerNode,
        machine: &mut Machine,
        to: BreakerState,
        cause: Option<BackendError>,
    ) -> StateChange {
        let from = std::mem::replace(&mut machine.state, to);
        // Unique over all nodes, and never reused, so a late call is always recognised.
        machine.number = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        (machine.probing, machine.successes) = (false, 0);
        machine.tally.clear();
        // The cause stays while probes find out whether it still holds.
        if to != BreakerState::HalfOpen {
            machine.cause.clone_from(&cause);
        }
        let passes = matches!(to, BreakerState::Closed | BreakerState::ForcedClosed);
        machine.refusal = (!passes).then(|| self.refusal(node, machine));
        let (breaker, node) = (Arc::clone(&self.name), node.name.clone());
        StateChange { breaker, node, number: machine.number, from, to, cause }
    }

    /// Calls the listeners. The caller holds no lock, so that a listener may use the breaker.
    fn notify(&self, changed: Option<StateChange>) {
        if let Some(change) = changed {
            self.listeners.iter().for_each(|listener| listener(&change));
        }
    }

    fn open_at(&self, now: Timestamp) -> BreakerState {
        let BreakerSettings { open_for, jitter, .. } = self.settings;
        BreakerState::Open(now + open_for + self.random.up_to(jitter))
    }

    /// Records the end of a call that began at this time, in the state of this number.
    fn record_end(
        &self,
        node: &BreakerNode,
        (began, number): (Timestamp, u64),
        ending: Ending,
        now: Timestamp,
    ) {
        let mut machine = node.machine.lock();
        // The state has changed since the call began: its outcome says nothing about the new state.
        if machine.number != number {
            return;
        }
        // Only the one probe of a half-open machine carries its number, so its end frees the place.
        let is_probe = machine.state == BreakerState::HalfOpen;
        machine.probing &= !is_probe;
        let to = match (machine.state, ending) {
            (BreakerState::Closed, Ending::Good) => {
                machine.tally.note(&self.settings, false, now);
                None
            }
            (BreakerState::Closed, Ending::Bad(cause)) => {
                let is_full = machine.tally.note_failure(&self.settings, began, now);
                is_full.then(|| (self.open_at(now), Some(cause)))
            }
            (BreakerState::HalfOpen, Ending::Bad(cause)) => Some((self.open_at(now), Some(cause))),
            (BreakerState::HalfOpen, Ending::Good) => {
                machine.successes += 1;
                (machine.successes >= self.settings.successes).then_some((BreakerState::Closed, None))
            }
            _ => None,
        };
        let changed = to.map(|(to, cause)| self.change(node, &mut machine, to, cause));
        drop(machine);
        self.notify(changed);
    }
}

/// A permit for one call. If it is dropped before the call ended, it frees the place of a probe.
pub(super) struct BreakerPermit {
    inner: Arc<BreakerInner>,
    /// The node; `None` for the storage as a whole.
    node: Option<Arc<BreakerNode>>,
    number: u64,
    began: Timestamp,
    /// True if the call needs other permits too: a failure may then come from any of those nodes.
    is_shared: bool,
    is_done: bool,
}

impl BreakerPermit {
    /// Returns a permit to call a node, or the storage as a whole. An open breaker returns its refusal.
    #[inline(always)]
    pub(super) fn of(
        inner: &Arc<BreakerInner>,
        node: Option<Arc<BreakerNode>>,
    ) -> Result<Self, BackendError> {
        let (now, at) = (inner.clock.now(), node.as_deref().unwrap_or(&inner.whole));
        let mut machine = at.machine.lock();
        match machine.state {
            BreakerState::Closed | BreakerState::ForcedClosed => {}
            // One probe at a time: the flag is set under the lock and cleared by the permit's end.
            BreakerState::HalfOpen if !machine.probing => machine.probing = true,
            BreakerState::Open(until) if now >= until => {
                let changed = inner.change(at, &mut machine, BreakerState::HalfOpen, None);
                machine.probing = true;
                let number = machine.number;
                drop(machine);
                return Ok(Self::first(inner, node, number, now, changed));
            }
            _ => {
                inner.refused.fetch_add(1, Ordering::Relaxed);
                return Err(machine.refusal.clone().unwrap_or_else(|| inner.refusal(at, &machine)));
            }
        }
        let number = machine.number;
        drop(machine);
        Ok(Self { inner: Arc::clone(inner), node, number, began: now, is_shared: false, is_done: false })
    }

    /// Returns the permit of the probe that made the breaker half-open.
    #[cold]
    fn first(
        inner: &Arc<BreakerInner>,
        node: Option<Arc<BreakerNode>>,
        number: u64,
        began: Timestamp,
        changed: StateChange,
    ) -> Self {
        // Made before the listeners run: it frees the place of the probe if one of them panics.
        let inner = Arc::clone(inner);
        let permit = Self { inner, node, number, began, is_shared: false, is_done: false };
        permit.inner.notify(Some(changed));
        permit
    }

    /// Marks the permit as one of several that a call needs.
    pub(super) const fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// Records the answer to the call. `was_asked` returns whether an answer shows that the store was asked.
    pub(super) fn answered<T>(
        mut self,
        answer: &Result<T, BackendError>,
        was_asked: impl FnOnce(&T) -> bool,
    ) {
        let ending = match answer {
            Ok(it) if !was_asked(it) => Ending::Unknown,
            Err(failure) if (self.inner.settings.counts)(failure.kind()) => Ending::Bad(failure.clone()),
            _ => Ending::Good,
        };
        self.end(ending);
    }

    fn end(&mut self, ending: Ending) {
        self.is_done = true;
        let (inner, now) = (&self.inner, self.inner.clock.now());
        // A slow call counts as a failure, also if its answer was dropped.
        let slow = inner.settings.slow.filter(|slow| now.since(self.began) >= *slow);
        let ending = match (ending, slow) {
            (Ending::Good | Ending::Unknown, Some(limit)) => {
                Ending::Bad(DeadlineExceeded { limit }.failure(true))
            }
            (ending, _) => ending,
        };
        let is_blameless = self.is_shared && matches!(ending, Ending::Bad(_));
        let ending = if is_blameless { Ending::Unknown } else { ending };
        let node = self.node.as_deref().unwrap_or(&inner.whole);
        inner.record_end(node, (self.began, self.number), ending, now);
    }
}

impl Drop for BreakerPermit {
    fn drop(&mut self) {
        if !self.is_done {
            self.end(Ending::Unknown);
        }
    }
}

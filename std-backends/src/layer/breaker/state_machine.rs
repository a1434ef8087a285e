//! When a node that fails is left alone, and when it is tried again: a state machine for each node, inner by
//! all who use the storage.

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

pub(super) struct BreakerInner {
    pub(super) name: Arc<str>,
    pub(super) settings: BreakerSettings,
    pub(super) clock: Arc<dyn Clock + Send + Sync>,
    pub(super) listeners: Vec<Listener>,
    pub(super) random: Random,
    /// The storage where it is one node.
    pub(super) whole: BreakerNode,
    pub(super) nodes: Nodes<BreakerNode>,
    /// Changes so far, of all nodes.
    pub(super) changes: AtomicU64,
    pub(super) refused: AtomicU64,
}

pub(super) type Listener = Box<dyn Fn(&StateChange) + Send + Sync>;

/// The state machine of a node.
pub(super) struct BreakerNode {
    /// `None` for the storage as a whole.
    name: Option<Arc<str>>,
    machine: SpinLock<Machine>,
}

struct Machine {
    state: BreakerState,
    /// The number of its last change; what began before that counts for nothing.
    number: u64,
    /// What those are told who do not pass; made once, for a store that is down is asked often.
    refusal: Option<BackendError>,
    /// The failure that opened it, while it is open or half-open.
    cause: Option<BackendError>,
    /// Of a half-open one: whether a probe is out, and how many have succeeded.
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

/// How a call ended, as far as a breaker is concerned.
enum Ending {
    Good,
    Bad(BackendError),
    /// It tells nothing about the store.
    Unknown,
}

impl BreakerInner {
    /// Returns the state machine of a node. A new one is forced to whatever all are forced to.
    pub(super) fn note(&self, node: &Arc<str>) -> Arc<BreakerNode> {
        self.nodes.get(node, |name| {
            let (made, state) = (BreakerNode::new(Some(name)), self.whole.state());
            if matches!(state, BreakerState::ForcedOpen | BreakerState::ForcedClosed) {
                let mut machine = made.machine.lock();
                machine.state = state;
                drop(machine);
            }
            made
        })
    }

    pub(super) fn states(&self) -> Vec<(Option<Arc<str>>, BreakerState, Option<BackendError>)> {
        let mut states: Vec<_> = self.nodes.all().iter().map(|node| node.report()).collect();
        states.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        let whole = self.whole.report();
        let is_listed = match whole.1 {
            BreakerState::Closed | BreakerState::HalfOpen => states.is_empty(),
            // Once nodes are known, nobody may ever call without one, and end it.
            BreakerState::Open(until) => states.is_empty() || until > self.clock.now(),
            BreakerState::ForcedOpen | BreakerState::ForcedClosed => true,
        };
        if is_listed {
            states.insert(0, whole);
        }
        states
    }

    /// Brings all nodes to a state at once.
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
        machine.number = self.changes.fetch_add(1, Ordering::Relaxed) + 1;
        (machine.probing, machine.successes) = (false, 0);
        machine.tally.clear();
        // A probe is there to see whether it still holds.
        if to != BreakerState::HalfOpen {
            machine.cause.clone_from(&cause);
        }
        let passes = matches!(to, BreakerState::Closed | BreakerState::ForcedClosed);
        machine.refusal = (!passes).then(|| self.refusal(node, machine));
        let (breaker, node) = (Arc::clone(&self.name), node.name.clone());
        StateChange { breaker, node, number: machine.number, from, to, cause }
    }

    /// Without the lock, so that a listener may ask the breaker whatever it likes.
    fn notify(&self, changed: Option<StateChange>) {
        if let Some(change) = changed {
            self.listeners.iter().for_each(|listener| listener(&change));
        }
    }

    fn open_at(&self, now: Timestamp) -> BreakerState {
        let BreakerSettings { open_for, jitter, .. } = self.settings;
        BreakerState::Open(now + open_for + self.random.up_to(jitter))
    }

    /// Notes how a call ended that began at this time, in the state of this number.
    fn record_end(
        &self,
        node: &BreakerNode,
        (began, number): (Timestamp, u64),
        ending: Ending,
        now: Timestamp,
    ) {
        let mut machine = node.machine.lock();
        if machine.number != number {
            return;
        }
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

/// One call that may pass. Dropped without an ending, it leaves its place to others.
pub(super) struct BreakerPermit {
    inner: Arc<BreakerInner>,
    /// `None` for the storage as a whole.
    node: Option<Arc<BreakerNode>>,
    number: u64,
    began: Timestamp,
    /// True if the call needs other permits too: if it fails, any of those nodes may be to blame.
    is_shared: bool,
    is_done: bool,
}

impl BreakerPermit {
    /// Asks to pass, to a node or to the storage as a whole.
    #[inline(always)]
    pub(super) fn of(
        inner: &Arc<BreakerInner>,
        node: Option<Arc<BreakerNode>>,
    ) -> Result<Self, BackendError> {
        let (now, at) = (inner.clock.now(), node.as_deref().unwrap_or(&inner.whole));
        let mut machine = at.machine.lock();
        match machine.state {
            BreakerState::Closed | BreakerState::ForcedClosed => {}
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

    /// The permit of the probe that made it half-open.
    #[cold]
    fn first(
        inner: &Arc<BreakerInner>,
        node: Option<Arc<BreakerNode>>,
        number: u64,
        began: Timestamp,
        changed: StateChange,
    ) -> Self {
        // Made first, for it gives back its place if a listener panics.
        let inner = Arc::clone(inner);
        let permit = Self { inner, node, number, began, is_shared: false, is_done: false };
        permit.inner.notify(Some(changed));
        permit
    }

    /// Marks it as one of several that a call needs.
    pub(super) const fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }

    /// Notes the answer to the call.
    pub(super) fn answered<T>(mut self, answer: &Result<T, BackendError>, tells: impl FnOnce(&T) -> bool) {
        let ending = match answer {
            Ok(it) if !tells(it) => Ending::Unknown,
            Err(failure) if (self.inner.settings.counts)(failure.kind()) => Ending::Bad(failure.clone()),
            _ => Ending::Good,
        };
        self.end(ending);
    }

    fn end(&mut self, ending: Ending) {
        self.is_done = true;
        let (inner, now) = (&self.inner, self.inner.clock.now());
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

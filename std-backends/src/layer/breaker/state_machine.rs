//! When a storage that fails is left alone, and when it is tried again: a state machine, shared by all who use the storage.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use traffik_core::storage::{ErrorKind, Failure};
use traffik_core::{Clock, Timestamp, debug_fields};

use crate::layer::breaker::settings::BreakerSettings;
use crate::layer::breaker::tally::Tally;
use crate::util::random::Random;
use crate::util::spin_lock::SpinLock;

/// Counts how a storage answers, and opens when it fails too often.
///
/// * *Closed*, every call passes. It opens after so many failures in a row, or when too large a share of the calls
///   within a window failed. A call that takes too long counts as failed, whatever it answers.
/// * *Open*, no call passes: each fails at once with [`ErrorKind::Unavailable`]. The cause of the failure is
///   an `Open`, whose fields are `breaker`, its name, and `state`, its [`BreakerState`].
/// * *Half-open*, once its time is over, one call passes at a time: a probe. So many that succeed in a row close it, and
///   one that fails opens it again. A probe that is dropped leaves its place to the next call.
///
/// What was asked in an earlier state and answered in a later one counts for nothing. Clones are the same breaker, so
/// several storages, and all throttles over them, can share one. Use a clock that does not step.
///
/// ```
/// use std::io::{Write, stderr};
/// use std::time::Duration;
/// use traffik_backends::layer::{Breaker, BreakerState, CircuitBreaker};
/// use traffik_backends::Memory;
/// use traffik_core::storage::{Failure, Local};
/// use traffik_core::{AsyncLimiter, Ratio, TokenBucket, rate};
///
/// let breaker = Breaker::builder("redis")
///     .failures(5) // in a row, or
///     .failure_rate(Ratio::new(1, 2)?, 20, Duration::from_secs(10)) // half of at least 20 calls in 10 s
///     .slow(Duration::from_millis(200))
///     .open_for(Duration::from_millis(500))
///     .on_change(|change| drop(writeln!(stderr(), "{change}"))) // never panics, as `eprintln!` may
///     .build()?;
///
/// // Memory stands here for a store that may fail.
/// let storage = CircuitBreaker::new(Local(Memory::new(1_000)), &breaker);
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// # let run = |reply| { let mut reply: traffik_core::storage::Reply<_> = reply; match &mut reply {
/// #     traffik_core::storage::Reply::Ready(answer) => answer.take().expect("it is local"), _ => unreachable!() } };
/// assert!(run(limiter.check("alice"))?.is_allowed());
///
/// breaker.force_open();
/// assert_eq!(run(limiter.check("alice")).unwrap_err().to_string(), "the circuit breaker redis was opened by hand");
/// breaker.release();
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Breaker {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) settings: BreakerSettings,
    pub(super) clock: Arc<dyn Clock + Send + Sync>,
    pub(super) listeners: Vec<Listener>,
    pub(super) random: Random,
    pub(super) machine: SpinLock<Machine>,
    pub(super) refused: AtomicU64,
}

pub(super) type Listener = Box<dyn Fn(&Change) + Send + Sync>;

/// What a breaker does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// No call passes. The first one from this time on does, as a probe.
    Open(Timestamp),
    /// One call passes at a time.
    HalfOpen,
    /// No call passes until [`release`](Breaker::release).
    ForcedOpen,
    /// Calls pass and count for nothing until [`release`](Breaker::release).
    ForcedClosed,
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Open(until) => write!(f, "open until {until}"),
            Self::HalfOpen => f.write_str("half-open"),
            Self::ForcedOpen => f.write_str("forced open"),
            Self::ForcedClosed => f.write_str("forced closed"),
        }
    }
}

/// A breaker went from one state to another.
///
/// Listeners are called after the fact, by whichever call brought it about: two changes can reach a listener in the
/// wrong order, and `number` tells which came first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The name of the breaker.
    pub breaker: Arc<str>,
    /// How many changes of this breaker there were, this one included.
    pub number: u64,
    /// What it was.
    pub from: BreakerState,
    /// What it is.
    pub to: BreakerState,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the circuit breaker {} was {} and is {}", self.breaker, self.from, self.to)
    }
}

/// Why a call did not pass a breaker: the [`cause`](Failure::cause) of the [`Failure`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Open {
    /// The name of the breaker.
    pub breaker: Arc<str>,
    /// What it was.
    pub state: BreakerState,
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the circuit breaker {}", self.breaker)?;
        match self.state {
            BreakerState::Open(until) => write!(f, " is open; it tries again at {until}"),
            BreakerState::ForcedOpen => f.write_str(" was opened by hand"),
            _ => f.write_str(" awaits the answer to a probe; it tries again after that"),
        }
    }
}

impl std::error::Error for Open {}

pub(super) struct Machine {
    state: BreakerState,
    /// Changes so far; what began before the last of them counts for nothing.
    number: u64,
    /// What those are told who do not pass; made once, for a store that is down is asked often.
    refusal: Option<Failure>,
    /// Of a half-open one: whether a probe is out, and how many have succeeded.
    probing: bool,
    successes: u32,
    tally: Tally,
}

impl Machine {
    pub(super) fn new() -> Self {
        let (state, tally) = (BreakerState::Closed, Tally::default());
        Self { state, number: 0, refusal: None, probing: false, successes: 0, tally }
    }
}

/// How a call ended, as far as a breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Good,
    Bad,
    /// It tells nothing about the store.
    Unknown,
}

impl Breaker {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What it does now. It stays open beyond its time until somebody calls.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.shared.machine.lock().state
    }

    /// How many calls it has refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Lets nothing pass until [`release`](Self::release), for instance while the store is being moved.
    pub fn force_open(&self) {
        self.shared.change_to(BreakerState::ForcedOpen);
    }

    /// Lets everything pass until [`release`](Self::release), however it ends.
    pub fn force_close(&self) {
        self.shared.change_to(BreakerState::ForcedClosed);
    }

    /// Closes it with nothing counted so far, whatever it is, and leaves it to itself again.
    pub fn release(&self) {
        self.shared.change_to(BreakerState::Closed);
    }

    /// Asks to pass.
    #[inline]
    pub(super) fn permit(&self) -> Result<Permit, Failure> {
        let now = self.shared.clock.now();
        let mut machine = self.shared.machine.lock();
        let changed = match machine.state {
            BreakerState::Closed | BreakerState::ForcedClosed => None,
            BreakerState::Open(until) if now >= until => {
                Some(self.shared.change(&mut machine, BreakerState::HalfOpen))
            }
            BreakerState::HalfOpen if !machine.probing => None,
            _ => {
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
                return Err(machine.refusal.clone().unwrap_or_else(|| self.shared.refusal(machine.state)));
            }
        };
        machine.probing = machine.state == BreakerState::HalfOpen;
        let number = machine.number;
        drop(machine);
        // Made first, for it gives back its place if a listener panics.
        let permit = Permit { shared: Arc::clone(&self.shared), number, began: now, is_done: false };
        self.shared.tell(changed);
        Ok(permit)
    }
}

debug_fields!([] Breaker: name = |it| it.name(), state = |it| it.state());

impl Shared {
    fn refusal(&self, state: BreakerState) -> Failure {
        Failure::new(ErrorKind::Unavailable, Open { breaker: Arc::clone(&self.name), state })
    }

    fn change_to(&self, state: BreakerState) {
        let mut machine = self.machine.lock();
        let changed = (machine.state != state).then(|| self.change(&mut machine, state));
        machine.tally.clear();
        drop(machine);
        self.tell(changed);
    }

    fn change(&self, machine: &mut Machine, to: BreakerState) -> Change {
        let from = std::mem::replace(&mut machine.state, to);
        machine.number += 1;
        (machine.probing, machine.successes) = (false, 0);
        machine.tally.clear();
        let passes = matches!(to, BreakerState::Closed | BreakerState::ForcedClosed);
        machine.refusal = (!passes).then(|| self.refusal(to));
        Change { breaker: Arc::clone(&self.name), number: machine.number, from, to }
    }

    /// Without the lock, so that a listener may ask the breaker whatever it likes.
    fn tell(&self, changed: Option<Change>) {
        if let Some(change) = changed {
            self.listeners.iter().for_each(|listener| listener(&change));
        }
    }

    fn open_at(&self, now: Timestamp) -> BreakerState {
        let BreakerSettings { open_for, jitter, .. } = self.settings;
        BreakerState::Open(now + open_for + self.random.up_to(jitter))
    }

    /// Notes how a call ended that began in the state of this number.
    fn ended(&self, number: u64, ending: Ending, now: Timestamp) {
        let mut machine = self.machine.lock();
        if machine.number != number {
            return;
        }
        let to = match machine.state {
            BreakerState::Closed if ending != Ending::Unknown => {
                machine.tally.note(&self.settings, ending == Ending::Bad, now).then(|| self.open_at(now))
            }
            BreakerState::HalfOpen => {
                machine.probing = false;
                match ending {
                    Ending::Unknown => None,
                    Ending::Bad => Some(self.open_at(now)),
                    Ending::Good => {
                        machine.successes += 1;
                        (machine.successes >= self.settings.successes).then_some(BreakerState::Closed)
                    }
                }
            }
            _ => None,
        };
        let changed = to.map(|to| self.change(&mut machine, to));
        drop(machine);
        self.tell(changed);
    }
}

/// One call that may pass. Dropped without an ending, it leaves its place to others.
pub(super) struct Permit {
    shared: Arc<Shared>,
    number: u64,
    began: Timestamp,
    is_done: bool,
}

impl Permit {
    /// The call was answered.
    pub(super) fn answered<T>(mut self, answer: &Result<T, Failure>, tells: impl FnOnce(&T) -> bool) {
        let ending = match answer {
            Ok(it) if !tells(it) => Ending::Unknown,
            Err(failure) if (self.shared.settings.counts)(failure.kind()) => Ending::Bad,
            _ => Ending::Good,
        };
        self.end(ending);
    }

    fn end(&mut self, ending: Ending) {
        self.is_done = true;
        let now = self.shared.clock.now();
        let is_slow = self.shared.settings.slow.is_some_and(|slow| now.since(self.began) >= slow);
        self.shared.ended(self.number, if is_slow { Ending::Bad } else { ending }, now);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.is_done {
            self.end(Ending::Unknown);
        }
    }
}

//! The handle of a circuit breaker: its state, and what opens and closes it by hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use traffik_core::debug_fields;
use traffik_core::storage::BackendError;

use crate::layer::breaker::state::BreakerState;
use crate::layer::breaker::state_machine::{BreakerInner, BreakerPermit};

/// Counts how a storage answers, and opens when it fails too often.
///
/// All of this is so for each [node](traffik_core::storage::AsyncStorage::node) of a storage by itself. What
/// is known of a node is forgotten when it leaves.
///
/// * *Closed*, every call passes. It opens after so many failures in a row, or when too large a share of the
///   calls within a window failed. A call that takes too long counts as failed, whatever it answers.
/// * *Open*, no call passes: each fails at once with
///   [`ErrorKind::Unavailable`](traffik_core::ErrorKind::Unavailable). The cause of the failure is an `CircuitOpen`,
///   whose fields are `breaker`, its name, `node`, and `state`, its [`BreakerState`]; the source of the
///   failure is the one that opened the breaker.
/// * *Half-open*, once its time is over, one call passes at a time: a probe. So many that succeed in a row
///   close it, and one that fails opens it again. A probe that is dropped leaves its place to the next call.
///
/// A call that was made in an earlier state and answered in a later one counts for nothing. Clones are the
/// same breaker, so several storages, and all throttles over them, can share one. Use a clock that does not
/// step.
///
/// ```
/// use std::io::{Write, stderr};
/// use std::time::Duration;
/// use traffik::layer::{Breaker, BreakerState, CircuitBreaker};
/// use traffik::Memory;
/// use traffik::storage::{BackendError, Local};
/// use traffik::{AsyncLimiter, Ratio, TokenBucket, rate};
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
/// # use traffik::storage::Reply;
/// # let run = |mut reply: Reply<_>| match &mut reply {
/// #     Reply::Ready(answer) => answer.take().expect("it is local"),
/// #     Reply::Pending(_) => unreachable!(),
/// # };
/// assert!(run(limiter.check("alice"))?.is_allowed());
///
/// breaker.force_open();
/// let refused = run(limiter.check("alice")).unwrap_err();
/// assert_eq!(refused.to_string(), "the circuit breaker redis was opened by hand");
/// breaker.release();
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Breaker {
    pub(super) inner: Arc<BreakerInner>,
}

impl Breaker {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns its state, of several nodes that of the one that is worst off: open rather than half-open, and
    /// half-open rather than closed. It stays open beyond its time until somebody calls.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        let states = self.nodes().into_iter().map(|(_, state, _)| state);
        states.max_by_key(|state| state.severity()).unwrap_or(BreakerState::Closed)
    }

    /// Returns the state of each node that is known, by name, and the failure that opened it unless it is
    /// closed.
    ///
    /// `None` is the storage as a whole: all there is of one that is a single node. Beside nodes it is listed
    /// only while it lets nothing pass, as before a cluster has told its nodes, or while all are forced.
    #[must_use]
    pub fn nodes(&self) -> Vec<(Option<Arc<str>>, BreakerState, Option<BackendError>)> {
        self.inner.states()
    }

    /// How many calls it has refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Lets nothing pass until [`release`](Self::release), for instance while the store is being moved. It is
    /// for all nodes, also those that come later.
    pub fn force_open(&self) {
        self.inner.force(BreakerState::ForcedOpen);
    }

    /// Lets everything pass until [`release`](Self::release), however it ends. It is for all nodes, also
    /// those that come later.
    pub fn force_close(&self) {
        self.inner.force(BreakerState::ForcedClosed);
    }

    /// Closes it with nothing counted so far, whatever it is, and leaves it to itself again: for all nodes.
    pub fn release(&self) {
        self.inner.force(BreakerState::Closed);
    }

    /// Asks to pass, to a node.
    #[inline]
    pub(super) fn permit(&self, node: Option<Arc<str>>) -> Result<BreakerPermit, BackendError> {
        BreakerPermit::of(&self.inner, node.map(|node| self.inner.note(&node)))
    }
}

debug_fields!([] Breaker: name = |it| it.name(), state = |it| it.state());

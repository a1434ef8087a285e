//! The handle of a circuit breaker: its state, and control by hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use traffik_core::debug_fields;
use traffik_core::storage::BackendError;

use crate::layer::breaker::state::BreakerState;
use crate::layer::breaker::state_machine::{BreakerInner, BreakerPermit};

/// A circuit breaker: it counts the failures of a storage, and stops calls for a while after too many.
///
/// Choose it for a store that may be down, so that calls then fail at once instead of waiting. Pass it to a
/// [`CircuitBreaker`](crate::layer::CircuitBreaker), around the timeout and the retry of the store.
///
/// It judges each [node](traffik_core::storage::AsyncStorage::node) of a storage separately, and forgets a
/// node that leaves.
///
/// * *Closed*: every call passes. The breaker opens after 5 failures in a row by default, or when too large
///   a share of the calls within a window failed. A call that takes too long can count as failed.
/// * *Open*: no call passes, for 500 to 750 ms by default. Each fails at once with
///   [`ErrorKind::Unavailable`](traffik_core::ErrorKind::Unavailable). The cause of the failure is a
///   `CircuitOpen` with the fields `breaker`, the name, `node`, and `state`, its [`BreakerState`]. Its
///   [`source`](std::error::Error::source) is the failure that opened the breaker.
/// * *Half-open*: one call passes at a time, a probe. One successful probe closes the breaker by default; a
///   failed one opens it again. A dropped probe leaves its place to the next call.
///
/// A call that began in an earlier state does not count in a later one. Clones are the same breaker, so
/// several storages, and all throttles over them, can share one. Use a clock that does not step.
///
/// ```
/// use std::io::{Write, stderr};
/// use std::time::Duration;
/// use traffik::layer::{Breaker, BreakerState, CircuitBreaker};
/// use traffik::runtime::Manual;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, Memory, Ratio, TokenBucket, rate};
///
/// let breaker = Breaker::builder("redis")
///     .failures(5) // in a row, or
///     .failure_rate(Ratio::new(1, 2)?, 20, Duration::from_secs(10)) // half of at least 20 calls in 10 s
///     .slow(Duration::from_millis(200))
///     .open_for(Duration::from_millis(500))
///     .on_change(|change| drop(writeln!(stderr(), "{change}"))) // never panics, as `eprintln!` may
///     .build()?;
///
/// // `Local(Memory)` stands for a store that may fail.
/// let storage = CircuitBreaker::new(Local(Memory::new(1_000)), &breaker);
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// let runtime = Manual::new();
/// assert!(runtime.run(async { limiter.check("alice").await })??.is_allowed());
///
/// breaker.force_open();
/// let refused = runtime.run(async { limiter.check("alice").await })?.unwrap_err();
/// assert!(refused.to_string().starts_with("the circuit breaker redis was opened by hand"));
/// breaker.release();
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Breaker {
    pub(super) inner: Arc<BreakerInner>,
}

impl Breaker {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the state; with several nodes, that of the worst one: open before half-open before closed.
    /// An open breaker stays open beyond its time until the next call.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        let states = self.nodes().into_iter().map(|(_, state, _)| state);
        states.max_by_key(|state| state.severity()).unwrap_or(BreakerState::Closed)
    }

    /// Returns the name and the state of each known node, and the failure that opened the breaker for it
    /// unless that is closed.
    ///
    /// The name `None` stands for the storage as a whole: the only entry of a storage that is a single node.
    /// Beside named nodes it is listed only while it is forced or open, for example because calls failed
    /// before a cluster had reported its nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<(Option<Arc<str>>, BreakerState, Option<BackendError>)> {
        self.inner.states()
    }

    /// Returns the number of calls that the breaker refused, over all nodes.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Refuses all calls to all nodes, also future ones, until [`release`](Self::release): for example
    /// while the store is being moved.
    pub fn force_open(&self) {
        self.inner.force(BreakerState::ForcedOpen);
    }

    /// Passes all calls to all nodes, also future ones, until [`release`](Self::release), whatever their
    /// outcome.
    pub fn force_close(&self) {
        self.inner.force(BreakerState::ForcedClosed);
    }

    /// Closes the breaker for all nodes, clears its counts, and returns it to automatic operation.
    pub fn release(&self) {
        self.inner.force(BreakerState::Closed);
    }

    /// Returns a permit to call a node, or the refusal of an open breaker.
    #[inline]
    pub(super) fn permit(&self, node: Option<Arc<str>>) -> Result<BreakerPermit, BackendError> {
        BreakerPermit::of(&self.inner, node.map(|node| self.inner.note(&node)))
    }
}

debug_fields!([] Breaker: name = |it| it.name(), state = |it| it.state());

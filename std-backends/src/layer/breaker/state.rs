//! The state of a circuit breaker, as listeners, callers and those who are refused see it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use traffik_core::Timestamp;
use traffik_core::storage::BackendError;

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// No call passes. The first one from this time on does, as a probe.
    Open(Timestamp),
    /// One call passes at a time.
    HalfOpen,
    /// No call passes until [`release`](crate::layer::Breaker::release).
    ForcedOpen,
    /// Calls pass and count for nothing until [`release`](crate::layer::Breaker::release).
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

impl BreakerState {
    /// Severity for those who call; of two that are open, the one that is open for longer is worse.
    pub(super) const fn severity(self) -> (u8, Timestamp) {
        match self {
            Self::Closed | Self::ForcedClosed => (0, Timestamp::EPOCH),
            Self::HalfOpen => (1, Timestamp::EPOCH),
            Self::Open(until) => (2, until),
            Self::ForcedOpen => (3, Timestamp::EPOCH),
        }
    }
}

/// A breaker went from one state to another.
///
/// Listeners are called after the fact, by whichever call brought it about: two changes can reach a listener
/// in the wrong order, and `number` tells which came first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StateChange {
    /// The name of the breaker.
    pub breaker: Arc<str>,
    /// The node whose state changed; `None` for a storage that is one node.
    pub node: Option<Arc<str>>,
    /// How many changes of this breaker there were, this one included.
    pub number: u64,
    /// The state before.
    pub from: BreakerState,
    /// The state since.
    pub to: BreakerState,
    /// The failure that opened it, if it has opened by itself.
    pub cause: Option<BackendError>,
}

impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name(f, &self.breaker, self.node.as_deref())?;
        write!(f, " was {} and is {}", self.from, self.to)?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// Why a call did not pass a breaker: the [`cause`](BackendError::cause) of the [`BackendError`]. Its
/// [`source`](Error::source) is the failure that opened the breaker.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CircuitOpen {
    /// The name of the breaker.
    pub breaker: Arc<str>,
    /// The node that is left alone; `None` for a storage that is one node.
    pub node: Option<Arc<str>>,
    /// The state before.
    pub state: BreakerState,
    pub(super) cause: Option<BackendError>,
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name(f, &self.breaker, self.node.as_deref())?;
        match self.state {
            BreakerState::Open(until) => write!(f, " is open; it tries again at {until}"),
            BreakerState::ForcedOpen => f.write_str(" was opened by hand"),
            _ => f.write_str(" awaits the answer to a probe; it tries again after that"),
        }
    }
}

impl Error for CircuitOpen {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

fn name(f: &mut fmt::Formatter<'_>, breaker: &str, node: Option<&str>) -> fmt::Result {
    write!(f, "the circuit breaker {breaker}")?;
    node.map_or(Ok(()), |node| write!(f, " for {node}"))
}

//! The state of a circuit breaker, its changes, and the error of refused calls.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use traffik_core::Timestamp;
use traffik_core::storage::BackendError;

/// The state of a [`Breaker`](crate::layer::Breaker).
///
/// ```
/// use traffik::layer::{Breaker, BreakerState};
///
/// let breaker = Breaker::new("redis");
/// match breaker.state() {
///     BreakerState::Closed | BreakerState::ForcedClosed => println!("calls pass"),
///     BreakerState::HalfOpen => println!("probing"),
///     BreakerState::Open(until) => println!("no call before {until}"),
///     BreakerState::ForcedOpen => println!("no call until `release`"),
///     other => println!("{other}"),
/// }
/// assert_eq!(breaker.state().to_string(), "closed");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// No call passes before this time. The first call from then on passes as a probe.
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
            Self::Open(until) => write!(f, "open until {until} s on its clock"),
            Self::HalfOpen => f.write_str("half-open"),
            Self::ForcedOpen => f.write_str("forced open"),
            Self::ForcedClosed => f.write_str("forced closed"),
        }
    }
}

impl BreakerState {
    /// Returns the severity for callers. Of two open states, the later end is worse.
    pub(super) const fn severity(self) -> (u8, Timestamp) {
        match self {
            Self::Closed | Self::ForcedClosed => (0, Timestamp::EPOCH),
            Self::HalfOpen => (1, Timestamp::EPOCH),
            Self::Open(until) => (2, until),
            Self::ForcedOpen => (3, Timestamp::EPOCH),
        }
    }
}

/// A change of a breaker from one state to another.
///
/// [`BreakerBuilder::on_change`](crate::layer::BreakerBuilder::on_change) passes it to a listener, within
/// the call that caused it. Two changes can reach a listener in the wrong order; `number` gives the right
/// one.
///
/// ```
/// use std::sync::mpsc::channel;
/// use traffik::layer::{Breaker, BreakerState};
///
/// let (sender, states) = channel();
/// let breaker = Breaker::builder("redis").on_change(move |change| drop(sender.send(change.to))).build()?;
/// breaker.force_open();
/// breaker.release();
/// assert!(states.try_iter().eq([BreakerState::ForcedOpen, BreakerState::Closed]));
/// # Ok::<(), traffik::storage::BackendError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StateChange {
    /// The name of the breaker.
    pub breaker: Arc<str>,
    /// The node whose state changed; `None` for a storage that is a single node.
    pub node: Option<Arc<str>>,
    /// The number of changes of this breaker up to this one.
    pub number: u64,
    /// The state before.
    pub from: BreakerState,
    /// The state after.
    pub to: BreakerState,
    /// The failure that opened the breaker, unless it was opened by hand.
    pub cause: Option<BackendError>,
}

impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name(f, &self.breaker, self.node.as_deref())?;
        write!(f, " was {} and is {}", self.from, self.to)?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// The cause of the failure of a call that a [`Breaker`](crate::layer::Breaker) refused.
///
/// It is the [`cause`](BackendError::cause) of the [`BackendError`] of a refused call. Its
/// [`source`](Error::source) is the failure that opened the breaker.
///
/// ```
/// use traffik::layer::{Breaker, CircuitBreaker, CircuitOpen};
/// use traffik::runtime::Manual;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
///
/// let breaker = Breaker::new("redis");
/// let storage = CircuitBreaker::new(Local(Memory::new(1_000)), &breaker);
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// breaker.force_open();
/// let refused = Manual::new().run(async { limiter.check("alice").await })?.unwrap_err();
/// let open = refused.cause().downcast_ref::<CircuitOpen>();
/// assert_eq!(open.map(|open| &*open.breaker), Some("redis"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CircuitOpen {
    /// The name of the breaker.
    pub breaker: Arc<str>,
    /// The refused node; `None` for a storage that is a single node.
    pub node: Option<Arc<str>>,
    /// The state in which the breaker refused the call.
    pub state: BreakerState,
    pub(super) cause: Option<BackendError>,
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name(f, &self.breaker, self.node.as_deref())?;
        match self.state {
            BreakerState::Open(until) => {
                write!(f, " is open; it passes the next call at {until} s on its clock")
            }
            BreakerState::ForcedOpen => {
                f.write_str(" was opened by hand; it stays open until it is released")
            }
            _ => f.write_str(
                " tries the storage with one call; it refuses all others until that one is answered",
            ),
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

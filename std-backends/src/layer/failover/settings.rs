//! When a fallback decides, with which limit, and what becomes of it.

use traffik_core::storage::{ErrorKind, Failure};
use traffik_core::strategy::CapacityError;

/// A failover changed sides.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FailoverChange {
    /// The primary failed, for this reason; the fallback decides.
    Away(Failure),
    /// The primary has answered again.
    Back,
}

pub(super) struct FailoverSettings<S> {
    pub(super) on: fn(ErrorKind) -> bool,
    pub(super) after_timeouts: bool,
    pub(super) share: Option<Share<S>>,
    pub(super) warm: bool,
    pub(super) merge: bool,
    pub(super) listeners: Vec<Listener>,
}

type Share<S> = Box<dyn Fn(&S) -> Result<S, CapacityError> + Send + Sync>;
type Listener = Box<dyn Fn(&FailoverChange) + Send + Sync>;

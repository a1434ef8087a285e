//! Hearing of what is decided.

use std::time::Duration;

use traffik_core::storage::BackendError;
use traffik_core::{ErasedKey, Origin, debug_fields, named};

#[cfg(feature = "metrics")]
mod metrics;
mod tally;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
#[cfg(feature = "tracing")]
pub use self::tracing::Traces;
pub use tally::Tally;

/// Hears of every request that comes to a throttle.
///
/// It is called while the request waits, so it MUST be quick, and MUST NOT write a line for every denial: a
/// denial is what an attacker asks for.
pub trait Observe: Send + Sync {
    /// A request was decided upon.
    fn seen(&self, event: &Event<'_>);
}

/// What became of a request.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The name of the throttle.
    pub throttle: &'a str,
    /// What became of it.
    pub result: RequestOutcome,
    /// Whom it was counted for, if that is known. A client chooses it: never a label of a metric.
    pub client: Option<&'a dyn ErasedKey>,
    /// How long the check took, if there was one.
    pub took: Option<Duration>,
    /// What has failed, if something has.
    pub failure: Option<&'a BackendError>,
    /// Where the decision comes from; `None` if the request was refused before there was any.
    pub origin: Option<Origin>,
}

impl Event<'_> {
    /// What kind of failure there was, in a word.
    #[must_use]
    pub fn failure_kind(&self) -> Option<&'static str> {
        self.failure.map(|failure| failure.kind().name())
    }
}

debug_fields!([] Event<'_>: throttle, result, took, origin);

named! {
    /// The outcome of a request, in a word.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum RequestOutcome {
        /// It was admitted.
        Allowed = "allowed",
        /// It was admitted, later.
        Delayed = "delayed",
        /// It was denied.
        Denied = "denied",
        /// It was denied, and no wait would help.
        Never = "never",
        /// It would have been denied, were the throttle [enforced](crate::Enforcement) for it.
        WouldDeny = "would_deny",
        /// It was not counted: its client is exempt.
        Exempt = "exempt",
        /// It was refused for what it is.
        Refused = "refused",
        /// It could not be decided upon.
        Failed = "failed",
    }
}

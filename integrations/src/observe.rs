//! Hearing of what is decided.

use std::time::Duration;

use traffik_core::storage::Failure;
use traffik_core::{ErasedKey, ErrorKind, Origin};

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
/// It is called while the request waits, so it MUST be quick, and MUST NOT write a line for every denial: a denial is
/// what an attacker asks for.
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
    pub result: Seen,
    /// Whom it was counted for, if that is known. A client chooses it: never a label of a metric.
    pub client: Option<&'a dyn ErasedKey>,
    /// How long the check took, if there was one.
    pub took: Option<Duration>,
    /// What has failed, if something has.
    pub failure: Option<&'a Failure>,
    /// Where the decision comes from; `None` if the request was refused before there was any.
    pub origin: Option<Origin>,
}

impl Event<'_> {
    /// What kind of failure there was, in a word.
    #[must_use]
    pub fn failure_kind(&self) -> Option<&'static str> {
        self.failure.map(|failure| kind_name(failure.kind()))
    }
}

impl std::fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("throttle", &self.throttle)
            .field("result", &self.result)
            .field("took", &self.took)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// What became of a request, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Seen {
    /// It was admitted.
    Allowed,
    /// It was admitted, later.
    Delayed,
    /// It was denied.
    Denied,
    /// It was denied, and no wait would help.
    Never,
    /// It would have been denied, were the throttle [enforced](crate::Enforcement) for it.
    WouldDeny,
    /// It was not counted: its client is exempt.
    Exempt,
    /// It was refused for what it is.
    Refused,
    /// It could not be decided upon.
    Failed,
}

impl Seen {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Allowed,
        Self::Delayed,
        Self::Denied,
        Self::Never,
        Self::WouldDeny,
        Self::Exempt,
        Self::Refused,
        Self::Failed,
    ];

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Delayed => "delayed",
            Self::Denied => "denied",
            Self::Never => "never",
            Self::WouldDeny => "would_deny",
            Self::Exempt => "exempt",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// All kinds of failure.
const KINDS: [(ErrorKind, &str); 9] = [
    (ErrorKind::Contended, "contended"),
    (ErrorKind::Full, "full"),
    (ErrorKind::Unavailable, "unavailable"),
    (ErrorKind::Timeout, "timeout"),
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::Closed, "closed"),
    (ErrorKind::Corrupt, "corrupt"),
    (ErrorKind::Denied, "denied"),
    (ErrorKind::Other, "other"),
];

/// What a kind of failure is called.
fn kind_name(kind: ErrorKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or("other", |(_, name)| name)
}

//! Observers of decisions: counters, metrics and logs.

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

/// Receives an event for every request that a throttle decides on, refuses or exempts. Implement it for
/// another metrics system; there are [`Tally`] for counters in this process, `Metrics` for the `metrics`
/// crate and `Traces` for `tracing`. Requests that pass because of a rule, or while the throttle is disabled,
/// cause no event.
///
/// The throttle calls it while the request waits, so it MUST return quickly. It MUST NOT write a log line for
/// each denial: an attacker could fill the log.
///
/// ```
/// use std::sync::mpsc::{Sender, channel};
/// use traffik::web::{Event, Observe, RequestOutcome, Throttle};
/// use traffik::{TokenBucket, rate};
///
/// /// Sends the names of throttles that deny.
/// struct Denials(Sender<String>);
///
/// impl Observe for Denials {
///     fn seen(&self, event: &Event<'_>) {
///         if event.result == RequestOutcome::Denied {
///             let _ = self.0.send(event.throttle.to_owned());
///         }
///     }
/// }
///
/// let limit = TokenBucket::new(rate!("100/min"));
/// let (sender, denials) = channel();
/// let throttle = Throttle::in_memory("api", limit).observe(Denials(sender)).build()?;
/// assert_eq!(denials.try_iter().count(), 0);
/// # let _ = throttle;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
pub trait Observe: Send + Sync {
    /// Receives the event of one request.
    fn seen(&self, event: &Event<'_>);
}

/// The event of one request, for an [`Observe`].
///
/// ```
/// use traffik::web::{Event, Observe};
///
/// struct Slow;
///
/// impl Observe for Slow {
///     fn seen(&self, event: &Event<'_>) {
///         if event.took.is_some_and(|took| took.as_millis() > 50) {
///             println!("{}: the check took {:?}", event.throttle, event.took);
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The name of the throttle.
    pub throttle: &'a str,
    /// The outcome of the request.
    pub result: RequestOutcome,
    /// The client that the request was counted for, if known. Clients choose it: never make it a label of a
    /// metric.
    pub client: Option<&'a dyn ErasedKey>,
    /// The duration of the check, if there was a check.
    pub took: Option<Duration>,
    /// The failure of the storage, if it failed.
    pub failure: Option<&'a BackendError>,
    /// The origin of the decision; `None` if the request was refused before a decision.
    pub origin: Option<Origin>,
}

impl Event<'_> {
    /// Returns the kind of the failure as one word, such as `"timeout"`.
    #[must_use]
    pub fn failure_kind(&self) -> Option<&'static str> {
        self.failure.map(|failure| failure.kind().name())
    }
}

debug_fields!([] Event<'_>: throttle, result, took, origin);

named! {
    /// The outcome of a request, as one word. Match it in an [`Observe`], or read its count from a [`Tally`].
    ///
    /// ```
    /// use traffik::web::RequestOutcome;
    ///
    /// assert_eq!(RequestOutcome::WouldDeny.name(), "would_deny");
    /// assert_eq!(RequestOutcome::ALL.len(), 8);
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum RequestOutcome {
        /// The request was admitted at once.
        Allowed = "allowed",
        /// The request was admitted after a delay.
        Delayed = "delayed",
        /// The request was denied.
        Denied = "denied",
        /// The request was denied, and can never pass: its cost exceeds the limit.
        Never = "never",
        /// The request passed, since the throttle is not [enforced](crate::Enforcement) for it; otherwise it
        /// would have been denied.
        WouldDeny = "would_deny",
        /// The request was not counted: its client is exempt.
        Exempt = "exempt",
        /// The request was refused by a function of it, for example as malformed or without an identity.
        Refused = "refused",
        /// The throttle could not decide, since the storage or a function of the request failed.
        Failed = "failed",
    }
}

//! The events that an instrumented storage reports, and their observer.

use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::{Op, Outcome, Strategy, named};

/// An observer of every call of a storage: a function of a [`CallEvent`], or
/// [`CallCounters`](crate::layer::CallCounters).
///
/// Implement it, or pass a function, to export metrics or log failures. It runs while a request waits for
/// the answer. So it MUST be quick, and MUST NOT log a line for every denial, since an attacker chooses
/// their number. It does not see the key, so its records do not grow with the number of keys.
///
/// ```
/// use traffik::layer::{CallEvent, CallObserver, Instrumented};
/// use traffik::storage::Local;
/// use traffik::{Memory, TokenBucket};
///
/// struct LogFailures;
///
/// impl CallObserver for LogFailures {
///     fn called(&self, call: &CallEvent<'_>) {
///         if let Some(failure) = call.failure {
///             eprintln!("{} failed after {:?}: {failure}", call.operation.name(), call.took);
///         }
///     }
/// }
///
/// let storage = Instrumented::new(Local(Memory::<TokenBucket>::new(1_000)), LogFailures);
/// assert!(storage.storage().0.is_empty());
/// ```
pub trait CallObserver: Send + Sync {
    /// Observes a call that ended.
    fn called(&self, call: &CallEvent<'_>);
}

impl<F: Fn(&CallEvent<'_>) + Send + Sync> CallObserver for F {
    fn called(&self, call: &CallEvent<'_>) {
        self(call);
    }
}

/// A call that ended: its operation, result, duration and node.
///
/// A [`CallObserver`] receives it.
///
/// ```
/// use traffik::layer::{CallEvent, CallResult};
///
/// fn is_slow_denial(call: &CallEvent<'_>) -> bool {
///     call.result == CallResult::Denied && call.took.as_millis() > 50
/// }
/// # let _ = is_slow_denial;
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallEvent<'a> {
    /// The operation.
    pub operation: Operation,
    /// The result.
    pub result: CallResult,
    /// The duration of the call, in whole microseconds.
    pub took: Duration,
    /// The [node](traffik_core::storage::AsyncStorage::node) that keeps the key, or all of the keys. `None`
    /// for a storage that is a single node, and for keys on several nodes.
    pub node: Option<&'a Arc<str>>,
    /// The failure, if the call failed.
    pub failure: Option<&'a BackendError>,
}

named! {
    /// The operation that a storage was asked for.
    ///
    /// ```
    /// use traffik::layer::Operation;
    ///
    /// assert_eq!(Operation::CheckTogether.name(), "check_together"); // as a label of a metric
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum Operation {
        /// A decision on a hit, and its charge.
        Check = "check",
        /// A decision on a hit, without a charge.
        Peek = "peek",
        /// A charge for what already happened.
        Charge = "charge",
        /// The return of an admission.
        Refund = "refund",
        /// The removal of a key.
        Reset = "reset",
        /// A copy of a state.
        Load = "load",
        /// A check of one hit on several keys.
        CheckTogether = "check_together",
    }
}

impl Operation {
    pub(super) const fn of<S: Strategy>(op: &Op<S>) -> Self {
        match op {
            Op::Check(_) => Self::Check,
            Op::Peek(_) => Self::Peek,
            Op::Charge(_) => Self::Charge,
            Op::Refund(..) => Self::Refund,
            Op::Reset => Self::Reset,
        }
    }
}

/// The result of a call.
///
/// ```
/// use traffik::ErrorKind;
/// use traffik::layer::CallResult;
///
/// let result = CallResult::Failed(ErrorKind::Timeout);
/// assert!(result.is_failure());
/// assert_eq!(result.name(), "failed_timeout"); // as a label of a metric
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallResult {
    /// The hit was admitted, or would be.
    Allowed,
    /// The hit was denied, or would be.
    Denied,
    /// The hit was denied, and no wait would help.
    Never,
    /// The operation succeeded. Charges, refunds, resets and loads end so.
    Done,
    /// The storage does not support the operation, and did nothing.
    Unable,
    /// The answer was dropped before it was there.
    Dropped,
    /// The call failed.
    Failed(ErrorKind),
}

impl CallResult {
    /// All results, each kind of failure included.
    pub const ALL: [Self; 15] = [
        Self::Allowed,
        Self::Denied,
        Self::Never,
        Self::Done,
        Self::Unable,
        Self::Dropped,
        Self::Failed(ErrorKind::Contended),
        Self::Failed(ErrorKind::Full),
        Self::Failed(ErrorKind::Unavailable),
        Self::Failed(ErrorKind::Timeout),
        Self::Failed(ErrorKind::Invalid),
        Self::Failed(ErrorKind::Closed),
        Self::Failed(ErrorKind::Corrupt),
        Self::Failed(ErrorKind::Denied),
        Self::Failed(ErrorKind::Other),
    ];

    /// Returns the name of the result, for a failure with its kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Never => "never",
            Self::Done => "done",
            Self::Unable => "unable",
            Self::Dropped => "dropped",
            Self::Failed(ErrorKind::Contended) => "failed_contended",
            Self::Failed(ErrorKind::Full) => "failed_full",
            Self::Failed(ErrorKind::Unavailable) => "failed_unavailable",
            Self::Failed(ErrorKind::Timeout) => "failed_timeout",
            Self::Failed(ErrorKind::Invalid) => "failed_invalid",
            Self::Failed(ErrorKind::Closed) => "failed_closed",
            Self::Failed(ErrorKind::Corrupt) => "failed_corrupt",
            Self::Failed(ErrorKind::Denied) => "failed_denied",
            Self::Failed(_) => "failed_other",
        }
    }

    /// Returns whether the call failed.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed(_))
    }

    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Allow { .. } => Self::Allowed,
            Outcome::Deny { .. } => Self::Denied,
            Outcome::Never => Self::Never,
        }
    }
}

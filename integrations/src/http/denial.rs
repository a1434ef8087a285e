//! What one's own code is told where a request is denied, and what it may answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use traffik_core::storage::BoxFuture;
use traffik_core::{ErasedKey, Outcome, debug_fields};

use crate::RequestParts;
use crate::http::headers::PolicyDecision;

/// A request that was denied.
pub struct Denial<'a> {
    /// The request.
    pub request: RequestParts<'a>,
    /// The throttle that denies it; of several, the first that does.
    pub throttle: &'a str,
    /// What was decided.
    pub outcome: Outcome,
    /// The limits, each with its `name` and its `decision`.
    pub limits: &'a [PolicyDecision<'a>],
    /// Whom the request was counted for.
    pub client: &'a dyn ErasedKey,
    pub(crate) answer: &'a dyn Fn() -> Response<Bytes>,
}

impl Denial<'_> {
    /// How long the client is to wait; `None` if waiting is in vain.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        wait_of(self.outcome)
    }

    /// What the client would be told if nobody had asked to tell it something else: a start for one's own answer.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        (self.answer)()
    }
}

debug_fields!([] Denial<'_>: throttle, outcome);

/// The wait until an outcome is another; `None` if it never is.
pub(crate) const fn wait_of(outcome: Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Deny { retry_after: wait } | Outcome::Allow { after: wait } => Some(wait),
        Outcome::Never => None,
    }
}

/// One's own answer to a denial.
#[derive(Clone)]
pub(crate) enum Handler {
    Now(Arc<dyn Fn(&Denial<'_>) -> Response<Bytes> + Send + Sync>),
    Awaited(Arc<dyn Fn(&Denial<'_>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync>),
}

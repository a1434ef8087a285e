//! A denied request, for functions that answer it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use traffik_core::storage::BoxFuture;
use traffik_core::{ErasedKey, Outcome, debug_fields};

use crate::RequestParts;
use crate::http::headers::PolicyDecision;

/// A request that was denied, for a function that answers it.
///
/// [`ThrottleBuilder::on_throttled`](crate::ThrottleBuilder::on_throttled) passes it. Start from
/// [`response`](Self::response) and change what you need.
///
/// ```
/// use http::header::RETRY_AFTER;
/// use traffik::{TokenBucket, rate};
/// use traffik::web::Throttle;
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min")))
///     .on_throttled(|denial| {
///         let mut response = denial.response(); // 429 with `Retry-After`
///         assert!(response.headers().contains_key(RETRY_AFTER));
///         *response.body_mut() = format!("{} is used up", denial.throttle).into();
///         response
///     })
///     .build()?;
/// assert_eq!(throttle.uid(), "api");
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
pub struct Denial<'a> {
    /// The request.
    pub request: RequestParts<'a>,
    /// The name of the throttle that denies; of several, the first one.
    pub throttle: &'a str,
    /// The outcome, with the exact wait.
    pub outcome: Outcome,
    /// The limits, each with its `name` and its `decision`.
    pub limits: &'a [PolicyDecision<'a>],
    /// The client that the request was counted for.
    pub client: &'a dyn ErasedKey,
    pub(crate) answer: &'a dyn Fn() -> Response<Bytes>,
}

impl Denial<'_> {
    /// Returns the wait until a retry; `None` if the request can never be admitted.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        wait_of(self.outcome)
    }

    /// Returns the answer that the throttle sends without a function: 429 with a problem document, or a gRPC
    /// status for a gRPC request.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        (self.answer)()
    }
}

debug_fields!([] Denial<'_>: throttle, outcome);

/// Returns the wait in an outcome; `None` if waiting does not help.
pub(crate) const fn wait_of(outcome: Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Deny { retry_after: wait } | Outcome::Allow { after: wait } => Some(wait),
        Outcome::Never => None,
    }
}

/// The user's function that answers denials.
#[derive(Clone)]
pub(crate) enum Handler {
    Now(Arc<dyn Fn(&Denial<'_>) -> Response<Bytes> + Send + Sync>),
    Awaited(Arc<dyn Fn(&Denial<'_>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync>),
}

//! The error of a request that a throttle does not let pass.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use traffik_core::storage::BackendError;
use traffik_core::{Key, Outcome, debug_fields};

use crate::http::denial::wait_of;
use crate::http::grpc::PUSHBACK;
use crate::http::headers::seconds;
use crate::http::request::{Refusal, RequestError};
use crate::http::response;
use crate::identify::ClientKey;

/// A request that a throttle does not let pass, with the answer that the middleware would send.
///
/// Return it from a handler. With axum it is a response (feature `axum`), so
/// `throttle.hit(&request).await?` answers a denial with the throttle's own 429. Elsewhere send
/// [`into_inner`](Self::into_inner). Its text names the client and the wait, for a log: an [API
/// key](crate::ApiKey) by a hash, the value of a [`Header`](crate::Header) as it is.
///
/// ```
/// # async fn export(request: &http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
/// use traffik::{TokenBucket, rate};
/// use traffik::web::Throttle;
///
/// let throttle = Throttle::in_memory("exports", TokenBucket::new(rate!("10/h"))).build()?;
/// if let Err(rejection) = throttle.hit_n(request, 5).await {
///     println!("{rejection}"); // 192.0.2.1 is over the limit exports; try again in 1800 s
///     assert_eq!(rejection.status(), 429);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Rejection(Box<RejectionInner>);

struct RejectionInner {
    throttle: String,
    client: Option<ClientKey>,
    cause: Cause,
    response: Response<Bytes>,
}

/// The cause of a rejection.
pub(crate) enum Cause {
    Denied(Outcome),
    Failed(BackendError),
    /// A refusal; `None` if the throttle answered for another reason, such as an action for a failure.
    Refused(Option<Refusal>),
}

impl Rejection {
    pub(crate) fn new(
        throttle: &str,
        client: Option<ClientKey>,
        cause: Cause,
        response: Response<Bytes>,
    ) -> Self {
        Self(Box::new(RejectionInner { throttle: throttle.to_owned(), client, cause, response }))
    }

    /// The rejection of a request before any check: a function of it refused it or failed.
    pub(crate) fn stopped(throttle: &str, is_grpc: bool, stop: RequestError) -> Self {
        let (response, cause) = match stop {
            RequestError::Refused(refusal) => (refusal.response(), Cause::Refused(Some(refusal))),
            RequestError::Failed(failure) => (response::unavailable(is_grpc, None), Cause::Failed(failure)),
        };
        Self::new(throttle, None, cause, response)
    }

    /// Returns the name of the throttle; of several, the first one that denies.
    #[must_use]
    pub fn throttle(&self) -> &str {
        &self.0.throttle
    }

    /// Returns the client that the request was counted for; `None` if it is not known.
    #[must_use]
    pub const fn client(&self) -> Option<&ClientKey> {
        self.0.client.as_ref()
    }

    /// Returns the outcome of the check; `None` if there was none, or it failed.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        match &self.0.cause {
            Cause::Denied(outcome) => Some(*outcome),
            Cause::Failed(_) | Cause::Refused(_) => None,
        }
    }

    /// Returns the failure, if that is the cause.
    #[must_use]
    pub const fn failure(&self) -> Option<&BackendError> {
        match &self.0.cause {
            Cause::Failed(failure) => Some(failure),
            Cause::Denied(_) | Cause::Refused(_) => None,
        }
    }

    /// Returns the wait until a retry; `None` if waiting does not help, or the answer has no wait. The wait
    /// of a denial is exact. Otherwise it is that of `Retry-After`, in whole seconds, or of gRPC's pushback,
    /// in whole milliseconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Cause::Denied(outcome) = &self.0.cause {
            return wait_of(*outcome);
        }
        let headers = self.0.response.headers();
        let number = |name| headers.get(name).map(HeaderValue::to_str)?.ok()?.parse().ok();
        number(RETRY_AFTER).map(Duration::from_secs).or_else(|| number(PUSHBACK).map(Duration::from_millis))
    }

    /// Returns the status of the answer: 429 for a denial, unless the throttle answers in its own way. A
    /// gRPC answer has 200 with the code in `grpc-status`.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.response.status()
    }

    /// Returns the answer.
    #[must_use]
    pub const fn response(&self) -> &Response<Bytes> {
        &self.0.response
    }

    /// Returns the answer, for sending.
    #[must_use]
    pub fn into_inner(self) -> Response<Bytes> {
        self.0.response
    }
}

impl From<Rejection> for Response<Bytes> {
    fn from(rejection: Rejection) -> Self {
        rejection.into_inner()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RejectionInner { throttle, client, cause, .. } = &*self.0;
        let mut who = String::new();
        match client {
            Some(client) => client.name(&mut who)?,
            None => who.push_str("the client"),
        }
        let on_whom = if client.is_some() { format!(" on {who}") } else { String::new() };
        match (cause, self.retry_after()) {
            (Cause::Denied(_), Some(wait)) => {
                write!(f, "{who} is over the limit {throttle}; try again in {} s", seconds(wait).max(1))
            }
            (Cause::Denied(_), None) => write!(f, "{who} asks for more than {throttle} ever admits at once"),
            (Cause::Failed(failure), _) => write!(f, "{throttle} cannot decide{on_whom}: {failure}"),
            (Cause::Refused(Some(refusal)), _) => write!(f, "{throttle} refuses the request: {refusal}"),
            (Cause::Refused(None), _) => write!(f, "{throttle} answers {} to {who}", self.status()),
        }
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.failure().and_then(Error::source)
    }
}

debug_fields!([] Rejection:
    throttle = |it| it.throttle(), outcome = |it| it.outcome(), failure = |it| it.failure(),
    status = |it| it.status());

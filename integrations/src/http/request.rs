//! The parts of a request that a throttle reads, and functions of them.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Request, StatusCode, Uri};
use traffik_core::storage::{BackendError, BoxFuture};
use traffik_core::{CapacityError, ErrorKind, StrategyError};

use crate::http::grpc::is_grpc;

/// A request without its body: the argument of functions that choose an identity, a cost or a strategy.
///
/// It converts from `&http::Request<B>` and `&http::request::Parts`.
///
/// ```
/// use traffik::web::RequestParts;
///
/// let request = http::Request::post("/login").header("x-user", "alice").body(())?;
/// let parts = RequestParts::from(&request);
/// assert_eq!(parts.uri.path(), "/login");
/// assert_eq!(parts.headers["x-user"], "alice");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The values that the server and outer layers have inserted.
    pub extensions: &'a Extensions,
}

impl<'a, B> From<&'a Request<B>> for RequestParts<'a> {
    fn from(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

impl<'a> From<&'a http::request::Parts> for RequestParts<'a> {
    fn from(parts: &'a http::request::Parts) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        }
    }
}

impl RequestParts<'_> {
    /// Reports whether the request is a gRPC call, which is answered with a gRPC status.
    pub(crate) fn is_grpc(self) -> bool {
        is_grpc(self.headers)
    }
}

/// The reason why a function of a request has no value.
///
/// `?` converts every error to it, so a closure that returns `Ok(..)` needs no annotation. A [`Refusal`] and
/// a [`BackendError`] are kept, and any other error becomes the cause of a failure. The type does not
/// implement [`Error`](std::error::Error), since that would forbid the conversion.
///
/// Return a refusal for a wrong value that a client has sent. As a failure it would be answered like an
/// outage, and [`OnError::Allow`](crate::OnError::Allow) would let it pass. If one function fails and another
/// one refuses, the request is refused.
///
/// ```
/// use http::StatusCode;
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{Refusal, Throttle};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).cost_by(|request| {
///     let Some(length) = request.headers.get("content-length") else { return Ok(1) };
///     let bytes = length.to_str().ok().and_then(|length| length.parse::<u32>().ok());
///     let wrong = || Refusal::new(StatusCode::BAD_REQUEST, "content-length must be a number");
///     Ok(bytes.ok_or_else(wrong)? / 1024 + 1)
/// });
/// # let _ = throttle.build()?;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// A failure, which [`OnError`](crate::OnError) handles like that of a storage.
    Failed(BackendError),
    /// A refusal, which the client receives.
    Refused(Refusal),
}

/// The refusal of a request for its content, such as a cost that is not a number.
///
/// Return it from a function of a request to answer with a status and a text, instead of counting the
/// request.
///
/// ```
/// use http::StatusCode;
/// use traffik::web::Refusal;
///
/// let refusal = Refusal::new(StatusCode::BAD_REQUEST, "send the header x-cost with one number");
/// assert_eq!(refusal.response().status(), 400);
/// assert_eq!(refusal.to_string(), "400 Bad Request: send the header x-cost with one number");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// The text for the client: how to correct the request.
    pub detail: String,
}

impl Refusal {
    /// Returns a refusal with this status; `detail` tells the client how to correct the request.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

/// Refuses an anonymous request.
impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self::new(status, "say who you are: requests without a name are not accepted")
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status, self.detail)
    }
}

impl Error for Refusal {}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for RequestError {
    fn from(error: E) -> Self {
        let mut error = Some(error);
        if let Some(refusal) = taken(&mut error) {
            return Self::Refused(refusal);
        }
        if let Some(failure) = taken(&mut error) {
            return Self::Failed(failure);
        }
        // These errors come from making a strategy for the request: a mistake, not an outage.
        let of: &dyn Any = &error;
        let is_invalid = of.is::<Option<CapacityError>>() || of.is::<Option<StrategyError>>();
        let kind = if is_invalid { ErrorKind::Invalid } else { ErrorKind::Other };
        let cause = error.map_or_else(|| "nothing".into(), Box::<dyn Error + Send + Sync>::from);
        Self::Failed(BackendError::new(kind, cause))
    }
}

/// Takes an error out if it is of this type.
fn taken<T: 'static>(error: &mut dyn Any) -> Option<T> {
    error.downcast_mut::<Option<T>>().and_then(Option::take)
}

/// The value of a function of a request: `T`, or a `Result<T, RequestError>`.
///
/// Results have one type of error, so that `?` and `Ok(..)` in a closure need no annotation.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::Throttle;
///
/// let api = || Throttle::in_memory("api", TokenBucket::new(rate!("100/min")));
/// let by_value = api().cost_by(|_| 2);
/// let by_result = api().cost_by(|request| Ok(request.uri.path().len().try_into()?));
/// # let _ = (by_value, by_result);
/// ```
#[diagnostic::on_unimplemented(
    message = "a function of a request returns a `{T}` or a `Result<{T}, RequestError>`, not a `{Self}`",
    note = "`?` converts any error to a `RequestError`: write `Ok(f()?)` in place of `f()`"
)]
pub trait Fallible<T>: Send {
    /// Returns the value, or the reason why there is none.
    ///
    /// # Errors
    ///
    /// Fails with the [`RequestError`] of the function.
    fn into_result(self) -> Result<T, RequestError>;
}

impl<T: Send> Fallible<T> for T {
    fn into_result(self) -> Result<T, RequestError> {
        Ok(self)
    }
}

impl<T: Send> Fallible<T> for Result<T, RequestError> {
    fn into_result(self) -> Self {
        self
    }
}

/// A fixed value, or a function of the request that returns it.
#[derive(Clone)]
pub(crate) enum FixedOr<T> {
    Fixed(T),
    Function(Arc<dyn Fn(RequestParts<'_>) -> Result<T, RequestError> + Send + Sync>),
    Awaited(Arc<dyn Fn(RequestParts<'_>) -> BoxFuture<'static, Result<T, RequestError>> + Send + Sync>),
}

/// The value of a function of the request or its error, or the future of either.
pub(crate) enum MaybeAsync<T> {
    Now(Result<T, RequestError>),
    Later(BoxFuture<'static, Result<T, RequestError>>),
}

impl<T> FixedOr<T> {
    pub(crate) fn function<A: Fallible<T>>(
        function: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        Self::Function(Arc::new(move |request| function(request).into_result()))
    }

    pub(crate) fn awaited<A, F>(function: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static) -> Self
    where
        A: Fallible<T>,
        F: Future<Output = A> + Send + 'static,
    {
        Self::Awaited(Arc::new(move |request| {
            let answer = function(request);
            Box::pin(async move { answer.await.into_result() })
        }))
    }

    /// Calls the function with this request; `None` if the value is fixed.
    pub(crate) fn ask(&self, request: RequestParts<'_>) -> MaybeAsync<Option<T>>
    where
        T: Send + 'static,
    {
        match self {
            Self::Fixed(_) => MaybeAsync::Now(Ok(None)),
            Self::Function(function) => MaybeAsync::Now(function(request).map(Some)),
            Self::Awaited(function) => {
                let answer = function(request);
                MaybeAsync::Later(Box::pin(async move { answer.await.map(Some) }))
            }
        }
    }

    /// Returns the value if it is fixed.
    pub(crate) const fn fixed(&self) -> Option<&T> {
        match self {
            Self::Fixed(value) => Some(value),
            _ => None,
        }
    }
}

impl<T: Send> MaybeAsync<T> {
    /// Waits for the value.
    pub(crate) async fn get(self) -> Result<T, RequestError> {
        match self {
            Self::Now(value) => value,
            Self::Later(answer) => answer.await,
        }
    }
}

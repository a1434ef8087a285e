//! A request as the parts that deciding on it may look at, and functions of them.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Method, Request, StatusCode, Uri};
use traffik_core::storage::{BackendError, BoxFuture};
use traffik_core::{CapacityError, ErrorKind, StrategyError};

use crate::http::grpc::is_grpc;

/// All of a request but its body.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// What the server and the layers outside have noted about it.
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
    /// Whether it is a gRPC call, which is answered in its own way.
    pub(crate) fn is_grpc(self) -> bool {
        is_grpc(self.headers)
    }
}

/// The reason why a function of a request has no answer.
///
/// `?` makes it of any error, so a closure that answers `Ok(..)` needs no annotation: a [`Refusal`] stays
/// one, a [`BackendError`] stays one, and anything else is a failure with that error as its cause. It is no
/// [`Error`](std::error::Error) itself, as it could not be made of any error otherwise.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::Throttle;
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).cost_by(|request| {
///     let Some(length) = request.headers.get("content-length") else { return Ok(1) };
///     let bytes: u32 = length.to_str()?.parse()?; // two types of errors
///     Ok(bytes / 1024 + 1)
/// });
/// # let _ = throttle.build()?;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// Something has failed: treated as a storage that fails is, by [`OnError`](crate::OnError).
    Failed(BackendError),
    /// The request is refused, and the client gets the refusal.
    Refused(Refusal),
}

/// A request refused for what it is, such as a cost that is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status to answer with.
    pub status: StatusCode,
    /// What would be right, for the client to read.
    pub detail: String,
}

impl Refusal {
    /// Refuses with this status; `detail` says what would be right.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into() }
    }
}

/// Refuses a request for whom it comes from, or does not say that it comes from.
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
        // A limit made for one request that cannot be counted exactly.
        let of: &dyn Any = &error;
        let is_invalid = of.is::<Option<CapacityError>>() || of.is::<Option<StrategyError>>();
        let kind = if is_invalid { ErrorKind::Invalid } else { ErrorKind::Other };
        let cause = error.map_or_else(|| "nothing".into(), Box::<dyn Error + Send + Sync>::from);
        Self::Failed(BackendError::new(kind, cause))
    }
}

/// Takes an error out, if it is of this type.
fn taken<T: 'static>(error: &mut dyn Any) -> Option<T> {
    error.downcast_mut::<Option<T>>().and_then(Option::take)
}

/// The answer of a function of a request: the value, or a result. Results have one type of error, so that `?`
/// and `Ok(..)` in a closure leave nothing open.
#[diagnostic::on_unimplemented(
    message = "a function of a request answers with a `{T}` or a `Result<{T}, Stop>`, not with a `{Self}`",
    note = "another error becomes a `Stop` by `?`: write `Ok(f()?)` in the place of `f()`"
)]
pub trait Fallible<T>: Send {
    /// The value, or why there is none.
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

/// A value, or a function of the request that tells it.
#[derive(Clone)]
pub(crate) enum FixedOr<T> {
    Fixed(T),
    Function(Arc<dyn Fn(RequestParts<'_>) -> Result<T, RequestError> + Send + Sync>),
    Awaited(Arc<dyn Fn(RequestParts<'_>) -> BoxFuture<'static, Result<T, RequestError>> + Send + Sync>),
}

/// A value that is there, or on its way.
pub(crate) enum MaybeAsync<T> {
    Now(T),
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

    /// What the function says of this request; `None` if the value is fixed.
    pub(crate) fn ask(&self, request: RequestParts<'_>) -> Result<MaybeAsync<Option<T>>, RequestError>
    where
        T: Send + 'static,
    {
        match self {
            Self::Fixed(_) => Ok(MaybeAsync::Now(None)),
            Self::Function(function) => function(request).map(|value| MaybeAsync::Now(Some(value))),
            Self::Awaited(function) => {
                let answer = function(request);
                Ok(MaybeAsync::Later(Box::pin(async move { answer.await.map(Some) })))
            }
        }
    }

    /// The value, if it is fixed.
    pub(crate) const fn fixed(&self) -> Option<&T> {
        match self {
            Self::Fixed(value) => Some(value),
            _ => None,
        }
    }
}

impl<T: Send> MaybeAsync<T> {
    /// The value, once it is there.
    pub(crate) async fn get(self) -> Result<T, RequestError> {
        match self {
            Self::Now(value) => Ok(value),
            Self::Later(answer) => answer.await,
        }
    }
}

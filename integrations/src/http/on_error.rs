//! The reaction to a failure of a storage or of a function of the request.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use traffik_core::storage::{BackendError, ErrorKind, Reply};
use traffik_core::{ErasedKey, Origin, debug_fields};

use crate::RequestParts;
use crate::http::headers::PolicyDecision;

/// A request on which a throttle could not decide, with the facts that were known by then.
///
/// The function of [`OnError::ask`] receives it.
///
/// ```
/// use traffik::ErrorKind;
/// use traffik::web::{ErrorAction, OnError};
///
/// let on_error = OnError::ask(|context| match context.kind() {
///     ErrorKind::Timeout if context.request.method.is_safe() => ErrorAction::Allow,
///     _ => ErrorAction::Throttle,
/// });
/// # let _ = on_error;
/// ```
#[non_exhaustive]
pub struct ErrorContext<'a> {
    /// The request.
    pub request: RequestParts<'a>,
    /// The name of the throttle that could not decide.
    pub throttle: &'a str,
    /// The failure.
    pub failure: &'a BackendError,
    /// The client of the request; `None` if a function of the request failed, so that the storage was not
    /// asked.
    pub client: Option<&'a dyn ErasedKey>,
    /// The cost of the request; of several limits that count different things, the largest.
    pub cost: Option<u32>,
    /// The limits, each with its `name` and its `decision`, as for a client that has used nothing.
    pub limits: &'a [PolicyDecision<'a>],
}

impl ErrorContext<'_> {
    /// Returns the kind of the failure.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.failure.kind()
    }
}

debug_fields!([] ErrorContext<'_>: throttle, failure, cost);

/// The wait in the answer to a failure that names no wait.
pub(crate) const OUTAGE_WAIT: Duration = Duration::from_secs(1);

/// The action for a request or a message on which a throttle could not decide.
///
/// The functions of [`OnError::ask`] and [`OnError::ask_async`] return it.
///
/// ```
/// use std::time::Duration;
/// use traffik::web::{ErrorAction, OnError};
///
/// let on_error = OnError::ask(|context| match context.cost {
///     Some(1) => ErrorAction::Allow,
///     _ => ErrorAction::ThrottleFor(Duration::from_secs(5)),
/// });
/// # let _ = on_error;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorAction<R = Response<Bytes>> {
    /// The request or the message passes without a check.
    Allow,
    /// The request is answered 503 with `Retry-After: 1`; the message is denied for 1 s.
    Throttle,
    /// The same as `Throttle` with this wait.
    ThrottleFor(Duration),
    /// The request is answered 500, with the [`BackendError`] in the response's extensions. The message is
    /// dropped, and the stream yields the failure in its place.
    Raise,
    /// The request gets this answer.
    Answer(R),
}

impl<R> ErrorAction<R> {
    /// Returns the origin that headers and observers show.
    pub(crate) const fn origin(&self) -> Origin {
        match self {
            Self::Allow => Origin::DegradedOpen,
            _ => Origin::DegradedClosed,
        }
    }
}

/// The reaction of a throttle to a failure of its storage or of a function of the request.
///
/// It is not asked about a refusal: an error that is a [`Refusal`](crate::Refusal) is answered as one. To
/// admit clients while the storage is down but not while your own lookup fails, use [`ask`](OnError::ask):
/// [`client`](ErrorContext::client) is `None` after a failed function.
///
/// Set it for one [throttle](crate::ThrottleBuilder::on_error), or for all throttles of
/// [`ThrottleDefaults`](crate::ThrottleDefaults::on_error). Defaults to [`Throttle`](Self::Throttle). `A`
/// is the type of the function: one for requests, another one for the messages of a WebSocket.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{OnError, Throttle};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min")))
///     .on_error(OnError::Allow) // requests pass while the storage is down
///     .build()?;
/// # let _ = throttle;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Default)]
#[non_exhaustive]
pub enum OnError<A: ?Sized = AskAboutRequest> {
    /// Requests are answered 503 with `Retry-After: 1`, and messages are denied for 1 s. If the policy for
    /// denied messages closes the connection, the code is 1013 (try again later).
    #[default]
    Throttle,
    /// The same as `Throttle` with this wait. The answer has it in whole seconds, rounded up, and in
    /// milliseconds.
    ThrottleFor(Duration),
    /// Everything passes without a check.
    Allow,
    /// Requests are answered 500, with the [`BackendError`] in the response's extensions for an outer
    /// layer. Messages are dropped, and the stream yields the failure in their place.
    Raise,
    /// The function chooses the action: see [`ask`](OnError::ask) and [`ask_async`](OnError::ask_async).
    Ask(Arc<A>),
}

/// The function for requests.
type AskAboutRequest = dyn Fn(&ErrorContext<'_>) -> Reply<ErrorAction> + Send + Sync;

impl OnError {
    /// Chooses the action by a function.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use traffik::ErrorKind;
    /// use traffik::web::{OnError, ErrorAction};
    ///
    /// // Cheap reads pass while the store is down; everything else is denied for 5 s.
    /// let on_error = OnError::ask(|context| match context.kind() {
    ///     ErrorKind::Corrupt => ErrorAction::Raise,
    ///     _ if context.request.method.is_safe() && context.cost.unwrap_or(1) < 10 => ErrorAction::Allow,
    ///     _ => ErrorAction::ThrottleFor(Duration::from_secs(5)),
    /// });
    /// # let _ = on_error;
    /// ```
    pub fn ask(function: impl Fn(&ErrorContext<'_>) -> ErrorAction + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(move |context| Reply::ready(Ok(function(context)))))
    }

    /// Chooses the action by an asynchronous function, such as one that calls a database.
    ///
    /// The request waits for the function, without a bound. If its client goes away, the function's future
    /// is dropped.
    ///
    /// ```
    /// use traffik::web::{OnError, ErrorAction};
    ///
    /// async fn is_paying(user: Option<String>) -> bool {
    ///     user.is_some() // in a program: look the user up in a database
    /// }
    ///
    /// let on_error = OnError::ask_async(|context| {
    ///     let user = context.request.headers.get("x-user");
    ///     let user = user.and_then(|user| user.to_str().ok()).map(str::to_owned);
    ///     async { if is_paying(user).await { ErrorAction::Allow } else { ErrorAction::Throttle } }
    /// });
    /// # let _ = on_error;
    /// ```
    pub fn ask_async<F: Future<Output = ErrorAction> + Send + 'static>(
        function: impl Fn(&ErrorContext<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::Ask(Arc::new(move |context| later(function(context))))
    }
}

/// Returns the reply of an asynchronous function.
pub(crate) fn later<R: Send + 'static>(
    remedy: impl Future<Output = ErrorAction<R>> + Send + 'static,
) -> Reply<ErrorAction<R>> {
    Reply::pending(async move { Ok(remedy.await) })
}

impl<A: ?Sized> OnError<A> {
    /// Returns the action; `ask` calls the function, if there is one.
    pub(crate) fn remedy<R>(&self, ask: impl FnOnce(&A) -> Reply<ErrorAction<R>>) -> Reply<ErrorAction<R>> {
        let remedy = match self {
            Self::Throttle => ErrorAction::Throttle,
            Self::ThrottleFor(wait) => ErrorAction::ThrottleFor(*wait),
            Self::Allow => ErrorAction::Allow,
            Self::Raise => ErrorAction::Raise,
            Self::Ask(function) => return ask(function),
        };
        Reply::ready(Ok(remedy))
    }
}

impl<A: ?Sized> Clone for OnError<A> {
    fn clone(&self) -> Self {
        match self {
            Self::Throttle => Self::Throttle,
            Self::ThrottleFor(wait) => Self::ThrottleFor(*wait),
            Self::Allow => Self::Allow,
            Self::Raise => Self::Raise,
            Self::Ask(function) => Self::Ask(Arc::clone(function)),
        }
    }
}

impl<A: ?Sized> fmt::Debug for OnError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Throttle => f.write_str("Throttle"),
            Self::ThrottleFor(wait) => f.debug_tuple("ThrottleFor").field(wait).finish(),
            Self::Allow => f.write_str("Allow"),
            Self::Raise => f.write_str("Raise"),
            Self::Ask(_) => f.write_str("Ask"),
        }
    }
}

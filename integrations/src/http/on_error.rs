//! What is done about a request that could not be decided upon.

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

/// A request that could not be decided upon, with all that was known about it by then.
#[non_exhaustive]
pub struct ErrorContext<'a> {
    /// The request.
    pub request: RequestParts<'a>,
    /// The throttle that could not decide.
    pub throttle: &'a str,
    /// What has failed.
    pub failure: &'a BackendError,
    /// Whom the request was to be counted for; `None` if what failed is what would have told that.
    pub client: Option<&'a dyn ErasedKey>,
    /// What it was to cost, of several limits that count different things the most.
    pub cost: Option<u32>,
    /// The limits, each with its `name` and its `decision`, for a client who has used nothing: how much, in
    /// what time.
    pub limits: &'a [PolicyDecision<'a>],
}

impl ErrorContext<'_> {
    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.failure.kind()
    }
}

debug_fields!([] ErrorContext<'_>: throttle, failure, cost);

/// The wait that is told where nobody says another.
pub(crate) const OUTAGE: Duration = Duration::from_secs(1);

/// What becomes of a request, or of a message, that could not be decided upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorAction<R = Response<Bytes>> {
    /// It passes, unchecked.
    Allow,
    /// A request is answered 503 with `Retry-After: 1`; a message is treated as one that is denied for a
    /// second.
    Throttle,
    /// The same with this wait.
    ThrottleFor(Duration),
    /// A request is answered 500, with the [`BackendError`] in the extensions of the response; a message is
    /// dropped, and the stream yields the failure in its place.
    Raise,
    /// A request is answered this.
    Answer(R),
}

impl<R> ErrorAction<R> {
    /// Where what becomes of it comes from.
    pub(crate) const fn origin(&self) -> Origin {
        match self {
            Self::Allow => Origin::DegradedOpen,
            _ => Origin::DegradedClosed,
        }
    }
}

/// What is done when a storage, or a function of the request, fails: with requests here, and with the
/// messages of a WebSocket by another function `A`.
///
/// It is said of a throttle; or of a storage, for [all throttles in it](crate::ThrottleDefaults::on_error) that say
/// nothing else; and it is [`Throttle`](Self::Throttle) where nobody says anything.
#[derive(Default)]
#[non_exhaustive]
pub enum OnError<A: ?Sized = AskAboutRequest> {
    /// Nothing passes unchecked: requests are answered 503 with `Retry-After: 1`, and messages denied for a
    /// second. A connection that is closed for it is closed with 1013 (try again later).
    #[default]
    Throttle,
    /// The same with this wait; it is told in whole seconds, rounded up, and in milliseconds.
    ThrottleFor(Duration),
    /// Everything passes, unchecked.
    Allow,
    /// Requests are answered 500, with the [`BackendError`] in the extensions of the response for whoever stands
    /// outside. Messages are dropped, and the stream yields the failure in their place.
    Raise,
    /// As this function says, at once or later: see [`ask`](OnError::ask) and
    /// [`ask_async`](OnError::ask_async).
    Ask(Arc<A>),
}

type AskAboutRequest = dyn Fn(&ErrorContext<'_>) -> Reply<ErrorAction> + Send + Sync;

impl OnError {
    /// As `function` says.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use traffik::ErrorKind;
    /// use traffik::web::{OnError, ErrorAction};
    ///
    /// // Reading is let pass; and what is dear is not, while the store is out of reach.
    /// let on_error = OnError::ask(|trouble| match trouble.kind() {
    ///     ErrorKind::Corrupt => ErrorAction::Raise,
    ///     _ if trouble.request.method.is_safe() && trouble.cost.unwrap_or(1) < 10 => ErrorAction::Allow,
    ///     _ => ErrorAction::ThrottleFor(Duration::from_secs(5)),
    /// });
    /// # let _ = on_error;
    /// ```
    pub fn ask(function: impl Fn(&ErrorContext<'_>) -> ErrorAction + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(move |trouble| Reply::ready(Ok(function(trouble)))))
    }

    /// As `function` says asynchronously, such as after it has asked another store. The request waits for as
    /// long as that takes, without a bound; if its client goes away, the future is dropped.
    ///
    /// ```
    /// use traffik::web::{OnError, ErrorAction};
    ///
    /// async fn is_paying(user: Option<String>) -> bool {
    ///     user.is_some() // ask a database
    /// }
    ///
    /// let on_error = OnError::ask_async(|trouble| {
    ///     let user = trouble.request.headers.get("x-user");
    ///     let user = user.and_then(|user| user.to_str().ok()).map(str::to_owned);
    ///     async { if is_paying(user).await { ErrorAction::Allow } else { ErrorAction::Throttle } }
    /// });
    /// # let _ = on_error;
    /// ```
    pub fn ask_async<F: Future<Output = ErrorAction> + Send + 'static>(
        function: impl Fn(&ErrorContext<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::Ask(Arc::new(move |trouble| later(function(trouble))))
    }
}

/// A remedy that is waited for.
pub(crate) fn later<R: Send + 'static>(
    remedy: impl Future<Output = ErrorAction<R>> + Send + 'static,
) -> Reply<ErrorAction<R>> {
    Reply::pending(async move { Ok(remedy.await) })
}

impl<A: ?Sized> OnError<A> {
    /// The remedy; `ask` puts the question to the function, where there is one.
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

//! What one's own code is told where a request is denied, or a storage fails, and what it may answer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use traffik_core::storage::{BoxFuture, Failure};
use traffik_core::{ErasedKey, Outcome};

use crate::RequestParts;
use crate::headers::Told;

/// A request that was denied.
pub struct Denial<'a> {
    /// The request.
    pub request: RequestParts<'a>,
    /// The throttle that denies it; of several, the first that does.
    pub throttle: &'a str,
    /// What was decided.
    pub outcome: Outcome,
    /// What each limit says.
    pub limits: &'a [Told<'a>],
    /// Whom the request was counted for.
    pub client: &'a dyn ErasedKey,
    pub(crate) answer: &'a dyn Fn() -> Response<Bytes>,
}

impl Denial<'_> {
    /// How long the client is to wait; `None` if waiting is in vain.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.outcome {
            Outcome::Deny { retry_after: wait } | Outcome::Allow { after: wait } => Some(wait),
            Outcome::Never => None,
        }
    }

    /// What the client would be told if nobody had asked to tell it something else: a start for one's own answer.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        (self.answer)()
    }
}

impl fmt::Debug for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Denial")
            .field("throttle", &self.throttle)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

/// One's own answer to a denial.
#[derive(Clone)]
pub(crate) enum Handler {
    Now(Arc<dyn Fn(&Denial<'_>) -> Response<Bytes> + Send + Sync>),
    Awaited(Arc<dyn Fn(&Denial<'_>) -> BoxFuture<'static, Response<Bytes>> + Send + Sync>),
}

/// A request that could not be decided upon.
#[derive(Debug)]
pub struct Trouble<'a> {
    /// The request.
    pub request: RequestParts<'a>,
    /// The throttle that could not decide.
    pub throttle: &'a str,
    /// What has failed.
    pub failure: &'a Failure,
}

/// What becomes of a request that could not be decided upon.
#[derive(Debug)]
#[non_exhaustive]
pub enum Remedy {
    /// It passes, unchecked.
    Allow,
    /// It is answered 503 with `Retry-After: 1`.
    Throttle,
    /// It is answered 500, with the [`Failure`] in the extensions of the response.
    Raise,
    /// It is answered this.
    Answer(Response<Bytes>),
}

/// What is done when a storage, or a function of the request, fails.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnError {
    /// Nobody passes unchecked: 503 with `Retry-After: 1`.
    #[default]
    Throttle,
    /// Everybody passes, unchecked.
    Allow,
    /// 500, with the [`Failure`] in the extensions of the response for whoever stands outside.
    Raise,
    /// As this function says.
    Ask(Arc<dyn Fn(&Trouble<'_>) -> Remedy + Send + Sync>),
}

impl OnError {
    /// As `function` says.
    pub fn ask(function: impl Fn(&Trouble<'_>) -> Remedy + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(function))
    }

    pub(crate) fn remedy(&self, trouble: &Trouble<'_>) -> Remedy {
        match self {
            Self::Throttle => Remedy::Throttle,
            Self::Allow => Remedy::Allow,
            Self::Raise => Remedy::Raise,
            Self::Ask(function) => function(trouble),
        }
    }
}

impl fmt::Debug for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Throttle => "Throttle",
            Self::Allow => "Allow",
            Self::Raise => "Raise",
            Self::Ask(_) => "Ask",
        })
    }
}

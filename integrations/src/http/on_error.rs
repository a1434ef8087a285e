//! What is done about a request that could not be decided upon.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use traffik_core::storage::{ErrorKind, Failure};
use traffik_core::{ErasedKey, Origin};

use crate::RequestParts;
use crate::http::headers::Told;

/// A request that could not be decided upon, with all that was known about it by then.
#[non_exhaustive]
pub struct Trouble<'a> {
    /// The request.
    pub request: RequestParts<'a>,
    /// The throttle that could not decide.
    pub throttle: &'a str,
    /// What has failed.
    pub failure: &'a Failure,
    /// Whom the request was to be counted for; `None` if what failed is what would have told that.
    pub client: Option<&'a dyn ErasedKey>,
    /// What it was to cost, of several limits that count different things the most.
    pub cost: Option<u32>,
    /// The limits as they are for a client who has used nothing: how much, and in what time.
    pub limits: &'a [Told<'a>],
}

impl Trouble<'_> {
    /// What kind of failure it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.failure.kind()
    }
}

impl fmt::Debug for Trouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trouble")
            .field("throttle", &self.throttle)
            .field("failure", &self.failure)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// What becomes of a request that could not be decided upon.
#[derive(Debug)]
#[non_exhaustive]
pub enum Remedy {
    /// It passes, unchecked.
    Allow,
    /// It is answered 503 with `Retry-After: 1`.
    Throttle,
    /// It is answered 503 with this wait.
    ThrottleFor(Duration),
    /// It is answered 500, with the [`Failure`] in the extensions of the response.
    Raise,
    /// It is answered this.
    Answer(Response<Bytes>),
}

impl Remedy {
    /// Where what becomes of the request comes from.
    pub(crate) const fn origin(&self) -> Origin {
        match self {
            Self::Allow => Origin::DegradedOpen,
            _ => Origin::DegradedClosed,
        }
    }
}

/// What is done when a storage, or a function of the request, fails.
///
/// It is said of a throttle; or of a storage, for [all throttles in it](crate::Base::on_error) that say nothing else; and it
/// is [`Throttle`](Self::Throttle) where nobody says anything.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnError {
    /// Nobody passes unchecked: 503 with `Retry-After: 1`.
    #[default]
    Throttle,
    /// Nobody passes unchecked: 503 with this wait, told in whole seconds, rounded up, and in milliseconds.
    ThrottleFor(Duration),
    /// Everybody passes, unchecked.
    Allow,
    /// 500, with the [`Failure`] in the extensions of the response for whoever stands outside.
    Raise,
    /// As this function says.
    Ask(Arc<dyn Fn(&Trouble<'_>) -> Remedy + Send + Sync>),
}

impl OnError {
    /// As `function` says.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use traffik_core::ErrorKind;
    /// use traffik_integrations::{OnError, Remedy};
    ///
    /// // Reading is let pass; and what is dear is not, while the store is out of reach.
    /// let on_error = OnError::ask(|trouble| match trouble.kind() {
    ///     ErrorKind::Corrupt => Remedy::Raise,
    ///     _ if trouble.request.method.is_safe() && trouble.cost.unwrap_or(1) < 10 => Remedy::Allow,
    ///     _ => Remedy::ThrottleFor(Duration::from_secs(5)),
    /// });
    /// # let _ = on_error;
    /// ```
    pub fn ask(function: impl Fn(&Trouble<'_>) -> Remedy + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(function))
    }

    /// The remedy, unless there is a function to be asked for it.
    pub(crate) fn remedy(&self) -> Result<Remedy, &(dyn Fn(&Trouble<'_>) -> Remedy + Send + Sync)> {
        match self {
            Self::Throttle => Ok(Remedy::Throttle),
            Self::ThrottleFor(wait) => Ok(Remedy::ThrottleFor(*wait)),
            Self::Allow => Ok(Remedy::Allow),
            Self::Raise => Ok(Remedy::Raise),
            Self::Ask(function) => Err(&**function),
        }
    }
}

impl fmt::Debug for OnError {
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

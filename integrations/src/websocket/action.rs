//! What becomes of a message that is denied, or could not be decided upon.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{BackendError, Reply};
use traffik_core::{ErasedKey, Outcome, debug_fields};

use crate::http::denial::wait_of;
use crate::http::headers::PolicyDecision;
use crate::http::on_error::{ErrorAction, OnError, later};

/// What is done with a message that is denied.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum WsAction<T> {
    /// It is dropped, and the peer gets a notice; what it sends else is not affected.
    #[default]
    Notice,
    /// It is dropped and the connection closed, with 1008 (policy violation) unless the policy
    /// [says](super::WsPolicy::close_with) otherwise. What comes in until the peer agrees is dropped, too; the stream
    /// then ends, after five seconds at the latest.
    Close,
    /// As with [`Close`](Self::Close), and the peer gets a notice before, even if it had one in this window.
    NoticeThenClose,
    /// It waits until it is admitted, and all that is behind it waits in the peer's own socket. Where that would
    /// stop reading for longer than the policy [allows](super::WsPolicy::max_delay), it is dropped instead, and
    /// the peer gets a notice.
    Delay,
    /// As with [`Delay`](Self::Delay), but where that would take too long the connection is closed.
    DelayOrClose,
    /// It is dropped, and the stream yields [`WsError::Throttled`](super::WsError::Throttled) in its place.
    Raise,
    /// As this function says.
    Ask(Arc<dyn Fn(&WsDenial<'_, T>) -> WsAnswer<T> + Send + Sync>),
}

impl<T> WsAction<T> {
    /// As `function` says.
    pub fn ask(function: impl Fn(&WsDenial<'_, T>) -> WsAnswer<T> + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(function))
    }
}

impl<T> fmt::Debug for WsAction<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice => f.write_str("Notice"),
            Self::Close => f.write_str("Close"),
            Self::NoticeThenClose => f.write_str("NoticeThenClose"),
            Self::Delay => f.write_str("Delay"),
            Self::DelayOrClose => f.write_str("DelayOrClose"),
            Self::Raise => f.write_str("Raise"),
            Self::Ask(_) => f.write_str("Ask"),
        }
    }
}

/// What one's own code says about a message that is denied.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WsAnswer<T> {
    /// It is dropped, and the peer not told.
    Drop,
    /// It is dropped, and the peer gets the policy's notice, unless it had one in this window.
    Notice,
    /// It is dropped, and the peer gets this, if it has read what it got before.
    Reply(T),
    /// It is dropped and the connection closed with this code and reason.
    Close(u16, String),
    /// It is dropped; the peer gets this, and then the connection is closed with this code and reason.
    ReplyThenClose(T, u16, String),
    /// It waits, as with [`WsAction::Delay`].
    Delay,
    /// It waits, as with [`WsAction::DelayOrClose`].
    DelayOrClose,
    /// It is dropped, and the stream yields an error in its place.
    Raise,
    /// It passes all the same.
    Pass,
}

impl<T> WsAnswer<T> {
    /// The connection is closed, whatever for.
    pub(super) fn close_for(failure: Option<&BackendError>, usual: &(u16, String)) -> Self {
        let (code, reason) = close_for(failure, usual);
        Self::Close(code, reason)
    }
}

/// The code and the reason with which a connection is closed; `usual` for a message that is denied.
pub(super) fn close_for(failure: Option<&BackendError>, usual: &(u16, String)) -> (u16, String) {
    match failure {
        Some(_) => (1013, "temporarily unavailable".to_owned()),
        None => usual.clone(),
    }
}

/// A message that is denied, or could not be decided upon.
pub struct WsDenial<'a, T> {
    /// The message.
    pub message: &'a T,
    /// The throttle that denies it.
    pub throttle: &'a str,
    /// What was decided.
    pub outcome: Outcome,
    /// What each limit says; nothing if the storage has failed.
    pub limits: &'a [PolicyDecision<'a>],
    /// Whom it was counted for.
    pub client: &'a dyn ErasedKey,
    /// What has failed, if something has.
    pub failure: Option<&'a BackendError>,
    /// Whether the peer was told in this window already.
    pub told: bool,
    pub(super) extras: &'a str,
}

impl<T> WsDenial<'_, T> {
    /// How long the peer is to wait; `None` if waiting is in vain.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        wait_of(self.outcome)
    }

    /// What the peer would be told if nobody had asked to tell it something else, as JSON.
    #[must_use]
    pub fn notice(&self) -> String {
        super::notice::json(self.retry_after(), self.failure.is_some(), self.extras)
    }
}

debug_fields!([T] WsDenial<'_, T>: throttle, outcome, failure);

/// What is done with a message when the storage fails.
///
/// If a policy does not say, the [throttle](crate::OnError) does; a function that it asks about requests is not asked about
/// messages, of which none passes unchecked then.
pub type WsOnError = OnError<dyn Fn(&BackendError) -> Reply<WsErrorAction> + Send + Sync>;

/// What becomes of a message that could not be decided upon; see [`WsOnError`].
pub type WsErrorAction = ErrorAction<Infallible>;

impl WsOnError {
    /// As `function` says.
    pub fn ask_failure(function: impl Fn(&BackendError) -> WsErrorAction + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(move |failure| Reply::ready(Ok(function(failure)))))
    }

    /// As `function` says asynchronously. The message waits meanwhile, for no longer than the policy
    /// [allows](super::WsPolicy::max_delay); then it is treated as with [`Throttle`](OnError::Throttle).
    pub fn ask_failure_async<F: Future<Output = WsErrorAction> + Send + 'static>(
        function: impl Fn(&BackendError) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::Ask(Arc::new(move |failure| later(function(failure))))
    }
}

//! Actions for a message that is denied, or that the storage could not decide on.

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

/// The action for a denied message. [`Notice`](Self::Notice), the default, suits clients that can slow down;
/// `Delay` suits clients that should not notice the limit, and `Close` peers that abuse the connection.
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use traffik::web::{WsAction, WsAnswer};
///
/// // Wait for a short delay, close the connection for a long one.
/// let action = WsAction::<tungstenite::Message>::ask(|denial| match denial.retry_after() {
///     Some(wait) if wait.as_secs() < 2 => WsAnswer::Delay,
///     _ => WsAnswer::Close(1008, "slow down".to_owned()),
/// });
/// assert_eq!(format!("{action:?}"), "Ask");
/// # }
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum WsAction<T> {
    /// Drops the message and sends the peer a notice; its other messages are not affected.
    #[default]
    Notice,
    /// Drops the message and closes the connection, with code 1008 (policy violation) unless
    /// [`close_with`](super::WsPolicy::close_with) sets another. Messages that arrive before the peer's own
    /// close are dropped. The stream then ends, after 5 s at most.
    Close,
    /// Sends the peer a notice, even if it had one in this window, then acts as [`Close`](Self::Close).
    NoticeThenClose,
    /// Holds the message until it is admitted; later messages wait in the peer's own socket. If that would
    /// pause reading for longer than [`max_delay`](super::WsPolicy::max_delay), drops the message and sends
    /// the peer a notice.
    Delay,
    /// Acts as [`Delay`](Self::Delay), but closes the connection if the wait would be too long.
    DelayOrClose,
    /// Drops the message; the stream yields [`WsError::Throttled`](super::WsError::Throttled) in its place.
    Raise,
    /// Acts as the function's answer says.
    Ask(Arc<dyn Fn(&WsDenial<'_, T>) -> WsAnswer<T> + Send + Sync>),
}

impl<T> WsAction<T> {
    /// Returns the action that calls `function` for each denied message.
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

/// The answer of your function about a denied message. Return it from the function of [`WsAction::ask`].
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use traffik::web::{WsAction, WsAnswer};
/// use tungstenite::Message;
///
/// let action = WsAction::ask(|denial| match denial.message {
///     Message::Binary(_) => WsAnswer::Drop,
///     _ => WsAnswer::Reply(Message::text("too fast")),
/// });
/// # let _: WsAction<Message> = action;
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WsAnswer<T> {
    /// Drops the message without a notice.
    Drop,
    /// Drops the message and sends the peer the policy's notice, unless it had one in this window.
    Notice,
    /// Drops the message and sends the peer this reply, unless an earlier one is still in flight.
    Reply(T),
    /// Drops the message and closes the connection with this code and reason.
    Close(u16, String),
    /// Drops the message, sends the peer this reply, then closes the connection with this code and reason.
    ReplyThenClose(T, u16, String),
    /// Holds the message as [`WsAction::Delay`] does.
    Delay,
    /// Holds the message as [`WsAction::DelayOrClose`] does.
    DelayOrClose,
    /// Drops the message; the stream yields an error in its place.
    Raise,
    /// Passes the message, though it was denied.
    Pass,
}

impl<T> WsAnswer<T> {
    /// Returns the answer that closes the connection for a denial, or for this failure.
    pub(super) fn close_for(failure: Option<&BackendError>, usual: &(u16, String)) -> Self {
        let (code, reason) = close_for(failure, usual);
        Self::Close(code, reason)
    }
}

/// Returns the code and the reason of a close: `usual` for a denial, 1013 (try again later) for a failure.
pub(super) fn close_for(failure: Option<&BackendError>, usual: &(u16, String)) -> (u16, String) {
    match failure {
        Some(_) => (1013, "temporarily unavailable".to_owned()),
        None => usual.clone(),
    }
}

/// A message that was denied, or that the storage could not decide on. Functions of a policy get it: see
/// [`WsAction::ask`] and [`WsPolicy::notice_by`](super::WsPolicy::notice_by).
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use traffik::web::WsDenial;
/// use tungstenite::Message;
///
/// fn notice(denial: &WsDenial<'_, Message>) -> Message {
///     Message::text(match denial.retry_after() {
///         Some(wait) => format!("{}: wait {} s", denial.throttle, wait.as_secs_f32().ceil()),
///         None => "too large".to_owned(),
///     })
/// }
/// # let _: fn(&WsDenial<'_, Message>) -> Message = notice;
/// # }
/// ```
pub struct WsDenial<'a, T> {
    /// The message.
    pub message: &'a T,
    /// The name of the throttle.
    pub throttle: &'a str,
    /// The outcome, with the wait.
    pub outcome: Outcome,
    /// The decision of each limit; empty if the storage failed.
    pub limits: &'a [PolicyDecision<'a>],
    /// The client that the message was counted for.
    pub client: &'a dyn ErasedKey,
    /// The failure of the storage, if it failed.
    pub failure: Option<&'a BackendError>,
    /// Whether the peer already had a notice in this window.
    pub notified: bool,
    pub(super) extras: &'a str,
}

impl<T> WsDenial<'_, T> {
    /// Returns how long the peer has to wait; `None` if such a message can never pass.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        wait_of(self.outcome)
    }

    /// Returns the default notice, as JSON.
    #[must_use]
    pub fn notice(&self) -> String {
        super::notice::json(self.retry_after(), self.failure.is_some(), self.extras)
    }
}

debug_fields!([T] WsDenial<'_, T>: throttle, outcome, failure);

/// The policy for messages when the storage fails.
///
/// Defaults to that of the [throttle](crate::OnError). If that is a function for requests, it is not called
/// for messages: they are denied as by [`Throttle`](OnError::Throttle), and none passes unchecked.
pub type WsOnError = OnError<dyn Fn(&BackendError) -> Reply<WsErrorAction> + Send + Sync>;

/// The action for a message that the storage could not decide on; see [`WsOnError`].
pub type WsErrorAction = ErrorAction<Infallible>;

impl WsOnError {
    /// Returns the policy that calls `function` for each failure.
    pub fn ask_failure(function: impl Fn(&BackendError) -> WsErrorAction + Send + Sync + 'static) -> Self {
        Self::Ask(Arc::new(move |failure| Reply::ready(Ok(function(failure)))))
    }

    /// Returns the policy that calls an asynchronous `function` for each failure.
    ///
    /// The message waits for the answer, for at most [`max_delay`](super::WsPolicy::max_delay), then is
    /// treated as with [`Throttle`](OnError::Throttle). The function's future is dropped at that time, or
    /// with the connection.
    pub fn ask_failure_async<F: Future<Output = WsErrorAction> + Send + 'static>(
        function: impl Fn(&BackendError) -> F + Send + Sync + 'static,
    ) -> Self {
        Self::Ask(Arc::new(move |failure| later(function(failure))))
    }
}

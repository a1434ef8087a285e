//! The settings that all connections share: the cost of a message, and the action for a denied one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use traffik_core::debug_fields;
use traffik_core::storage::BoxFuture;
use traffik_runtimes::Runtime;

use super::{WsAction, WsDenial, WsExtra, WsMessage, WsNotices, WsOnError};

/// The cost of a message, and the action for a denied one. Make one for all connections, and share it between
/// their [`WsThrottle`](super::WsThrottle)s in an `Arc`.
///
/// `C` is the type of costs of the strategy and `T` that of the messages; both are inferred from its use.
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use std::time::Duration;
/// use traffik::runtime::Manual; // in a program: `Tokio` or `Smol`
/// use traffik::web::{WsAction, WsPolicy};
///
/// let policy = WsPolicy::<u32, tungstenite::Message>::new(Manual::new())
///     .by_bytes()
///     .action(WsAction::Delay)
///     .max_delay(Duration::from_secs(5));
/// # let _ = policy;
/// # }
/// ```
pub struct WsPolicy<C, T> {
    pub(super) cost: Option<Box<CostFn<C, T>>>,
    pub(super) action: WsAction<T>,
    pub(super) max_delay: Duration,
    pub(super) notices: WsNotices,
    pub(super) notice: Option<Box<NoticeFn<T>>>,
    pub(super) extras: String,
    pub(super) close: (u16, String),
    /// The reaction to failures; `None` for the throttle's.
    pub(super) on_error: Option<WsOnError>,
    pub(super) now: Arc<dyn Fn() -> Instant + Send + Sync>,
    pub(super) sleep: Box<SleepFn>,
}

/// A function that sleeps.
pub(super) type SleepFn = dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync;
/// A function that returns the cost of a message.
type CostFn<C, T> = dyn Fn(&T) -> C + Send + Sync;
/// A function that returns the notice of a denial.
type NoticeFn<T> = dyn Fn(&WsDenial<'_, T>) -> T + Send + Sync;

/// The default of `max_delay`, below the 20 s or more that clients usually wait for the answer to a ping.
const DEFAULT_MAX_DELAY: Duration = Duration::from_secs(15);

impl<C, T> WsPolicy<C, T> {
    /// Returns the default policy: each message has the cost of its throttle, by default 1, and a denied
    /// message is dropped, with a notice to the peer. Waits, and the time between notices, are measured by
    /// `runtime`.
    #[must_use]
    pub fn new(runtime: impl Runtime) -> Self {
        let clock = runtime.clone();
        Self {
            cost: None,
            action: WsAction::Notice,
            max_delay: DEFAULT_MAX_DELAY,
            notices: WsNotices::EachWindow,
            notice: None,
            extras: String::new(),
            close: (1008, "rate limit exceeded".to_owned()),
            on_error: None,
            now: Arc::new(move || clock.now()),
            sleep: Box::new(move |wait| Box::pin(runtime.sleep(wait))),
        }
    }

    /// Charges each message the cost that `cost` returns. A message of cost 0 always passes. Defaults to the
    /// cost of the throttle.
    ///
    /// A pair of limits takes a pair of costs, to limit messages and bytes together:
    /// `|message| (1, bytes(message))`.
    #[must_use]
    pub fn cost_by(self, cost: impl Fn(&T) -> C + Send + Sync + 'static) -> Self {
        Self { cost: Some(Box::new(cost)), ..self }
    }

    /// Sets the action for a denied message. Defaults to [`WsAction::Notice`].
    #[must_use]
    pub fn action(self, action: WsAction<T>) -> Self {
        Self { action, ..self }
    }

    /// Sets how long a message may wait, for its turn or for the storage, and for how long reading may be
    /// stopped in total. Defaults to 15 s.
    ///
    /// A storage that takes longer counts as [failed](Self::on_error) with
    /// [`Timeout`](traffik_core::ErrorKind::Timeout); it may still charge the message. So give the calls of
    /// the storage a timeout well below this. If messages come faster than a slow storage decides, they use
    /// up the time together, and then fail until the peer pauses.
    ///
    /// A ping behind waiting messages is answered only when it is read. So set this below the time that peers
    /// wait for a pong. It can be longer for peers that send no pings.
    #[must_use]
    pub fn max_delay(self, max_delay: Duration) -> Self {
        Self { max_delay, ..self }
    }

    /// Sets the frequency of notices. Defaults to [`WsNotices::EachWindow`].
    #[must_use]
    pub fn notices(self, notices: WsNotices) -> Self {
        Self { notices, ..self }
    }

    /// Sets the notice, in place of the default JSON that [`WsDenial::notice`] returns.
    #[must_use]
    pub fn notice_by(self, notice: impl Fn(&WsDenial<'_, T>) -> T + Send + Sync + 'static) -> Self {
        Self { notice: Some(Box::new(notice)), ..self }
    }

    /// Adds a member to the JSON object of every notice: text, an `i64` or a `bool`.
    #[must_use]
    pub fn extra(mut self, name: &str, value: impl Into<WsExtra>) -> Self {
        value.into().append(name, &mut self.extras);
        self
    }

    /// Sets the code and the reason with which connections are closed for a denied message. Sends at most 123
    /// bytes of the reason. Defaults to 1008 and `"rate limit exceeded"`.
    #[must_use]
    pub fn close_with(self, code: u16, reason: &str) -> Self {
        Self { close: (code, reason.to_owned()), ..self }
    }

    /// Sets the reaction to a failed storage. Defaults to that of the throttle.
    #[must_use]
    pub fn on_error(self, on_error: WsOnError) -> Self {
        Self { on_error: Some(on_error), ..self }
    }
}

impl<T: WsMessage + 'static> WsPolicy<u32, T> {
    /// Charges each message its length in bytes. An empty message costs 1, so that it is not free.
    #[must_use]
    pub fn by_bytes(self) -> Self {
        self.cost_by(bytes)
    }
}

/// Returns the cost of a message by its length in bytes.
fn bytes(message: &impl WsMessage) -> u32 {
    u32::try_from(message.size()).unwrap_or(u32::MAX).max(1)
}

debug_fields!([C, T] WsPolicy<C, T>: action, max_delay, notices, on_error);

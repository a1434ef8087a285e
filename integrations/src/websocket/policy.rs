//! What is the same for all connections: what a message costs, and what becomes of one that is too many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use traffik_core::debug_fields;
use traffik_core::storage::BoxFuture;
use traffik_runtimes::Runtime;

use super::{WsAction, WsDenial, WsExtra, WsMessage, WsNotices, WsOnError};

/// What a message costs, and what becomes of one that is too many: given to each [`WsThrottle`](super::WsThrottle), and
/// shared by them in an `Arc`.
///
/// `C` is what the limit counts by and `T` the messages; both follow from where it is used.
pub struct WsPolicy<C, T> {
    pub(super) cost: Option<Box<Cost<C, T>>>,
    pub(super) action: WsAction<T>,
    pub(super) max_delay: Duration,
    pub(super) notices: WsNotices,
    pub(super) notice: Option<Box<Notice<T>>>,
    pub(super) extras: String,
    pub(super) close: (u16, String),
    /// As the throttle says, if nothing is.
    pub(super) on_error: Option<WsOnError>,
    pub(super) now: Arc<dyn Fn() -> Instant + Send + Sync>,
    pub(super) sleep: Box<Sleep>,
}

pub(super) type Sleep = dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync;
type Cost<C, T> = dyn Fn(&T) -> C + Send + Sync;
type Notice<T> = dyn Fn(&WsDenial<'_, T>) -> T + Send + Sync;

/// Clients that ping wait for 20 s or more until they give up.
const AT_MOST: Duration = Duration::from_secs(15);

impl<C, T> WsPolicy<C, T> {
    /// Each message costs what its throttle says, 1 if that says nothing, and one that is too many is dropped, with a
    /// notice to the peer. Waits, and the time between notices, are by this runtime.
    #[must_use]
    pub fn new(runtime: impl Runtime) -> Self {
        let clock = runtime.clone();
        Self {
            cost: None,
            action: WsAction::Notice,
            max_delay: AT_MOST,
            notices: WsNotices::EachWindow,
            notice: None,
            extras: String::new(),
            close: (1008, "rate limit exceeded".to_owned()),
            on_error: None,
            now: Arc::new(move || clock.now()),
            sleep: Box::new(move |wait| Box::pin(runtime.sleep(wait))),
        }
    }

    /// A message costs what `cost` says. One of cost 0 always passes.
    ///
    /// Of a pair of limits both are told, so that messages and bytes are limited together: `|message| (1, bytes(message))`.
    #[must_use]
    pub fn cost_by(self, cost: impl Fn(&T) -> C + Send + Sync + 'static) -> Self {
        Self { cost: Some(Box::new(cost)), ..self }
    }

    /// What is done with a message that is denied.
    #[must_use]
    pub fn action(self, action: WsAction<T>) -> Self {
        Self { action, ..self }
    }

    /// For how long a message may wait, for its turn or for the storage, and reading be stopped on the whole, if not for 15 s.
    ///
    /// A storage that takes longer has [failed](Self::on_error), with [`Timeout`](traffik_core::ErrorKind::Timeout): the message
    /// may have been charged. So give its calls a deadline well below this. Messages that come faster than a slow storage
    /// decides fail too, once what is allowed is used up, until there is a pause.
    ///
    /// A ping of the peer's that lies behind messages that wait is answered when it is read, so this is to be less than
    /// the peer waits for its pong; more is right for peers that send none.
    #[must_use]
    pub fn max_delay(self, max_delay: Duration) -> Self {
        Self { max_delay, ..self }
    }

    /// How often a peer is told.
    #[must_use]
    pub fn notices(self, notices: WsNotices) -> Self {
        Self { notices, ..self }
    }

    /// What a peer is told, instead of JSON; [`WsDenial::notice`] is what it would be told otherwise.
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

    /// Connections that are closed for a message that is denied are closed with this code and reason, of which 123 bytes
    /// are told.
    #[must_use]
    pub fn close_with(self, code: u16, reason: &str) -> Self {
        Self { close: (code, reason.to_owned()), ..self }
    }

    /// What is done when the storage fails.
    #[must_use]
    pub fn on_error(self, on_error: WsOnError) -> Self {
        Self { on_error: Some(on_error), ..self }
    }
}

impl<T: WsMessage + 'static> WsPolicy<u32, T> {
    /// A message costs its length in bytes. An empty one counts as one byte, so that nobody sends them for nothing.
    #[must_use]
    pub fn by_bytes(self) -> Self {
        self.cost_by(bytes)
    }
}

/// What a message costs by its length.
fn bytes(message: &impl WsMessage) -> u32 {
    u32::try_from(message.size()).unwrap_or(u32::MAX).max(1)
}

debug_fields!([C, T] WsPolicy<C, T>: action, max_delay, notices, on_error);

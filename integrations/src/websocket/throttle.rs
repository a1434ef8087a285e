//! A socket whose messages are limited.

use std::sync::Arc;

use futures_core::Stream;
use traffik_core::storage::{AsyncStorage, BoxFuture};
use traffik_core::{Strategy, debug_fields};

use super::hold::Held;
use super::meter::Meter;
use super::outgoing::{Replies, Waiters};
use super::patience::Patience;
use super::{WsMessage, WsPolicy};
use crate::throttle::Client;

/// A WebSocket whose messages are limited: a stream of those that pass, and a sink of whatever is to be sent.
///
/// It wraps a stream and sink of [messages](WsMessage) that needs no pinning: `WebSocket` of axum (feature
/// `axum`), `WebSocketStream` of tokio-tungstenite or async-tungstenite, `HyperWebsocketStream` of
/// hyper-tungstenite. No runtime is named but that of the [policy](WsPolicy). It can be split as the socket
/// can. Something has to read it, as with every WebSocket: pings are answered, and notices sent, while it is
/// polled.
///
/// The limit, its enforcement and whether the throttle is enabled are as they are when a message comes; cost,
/// class and scope as they were when the client was made. Two limits in two throttles are one around the
/// other; they are asked in turn. Two that are to be [one](traffik_core::All) are one throttle.
pub struct WsThrottle<W, S: Strategy, M, T> {
    pub(super) socket: W,
    /// Nothing, if the connection is not counted.
    pub(super) meter: Option<Arc<Meter<S, M>>>,
    pub(super) policy: Arc<WsPolicy<S::Cost, T>>,
    /// The message that waits; most connections never have one.
    pub(super) held: Option<Box<Held<S, M, T>>>,
    /// What was read after it.
    pub(super) next: Option<T>,
    pub(super) patience: Patience,
    pub(super) replies: Replies,
    pub(super) waiters: Waiters,
    pub(super) closing: Option<Closing<T>>,
    pub(super) has_ended: bool,
}

/// A connection that is being closed for what came over it.
pub(super) struct Closing<T> {
    /// The message to be sent before.
    pub(super) last: Option<T>,
    /// The message that closes it, until it is sent.
    pub(super) message: Option<T>,
    /// For how long the peer is waited for.
    pub(super) deadline: BoxFuture<'static, ()>,
}

impl<W, S: Strategy, M: AsyncStorage<S> + 'static, T: WsMessage> WsThrottle<W, S, M, T> {
    /// Limits what is read from `socket`, for this client; for `None` nothing is limited.
    pub fn new<E>(
        socket: W,
        client: impl Into<Option<Client<S, M>>>,
        policy: impl Into<Arc<WsPolicy<S::Cost, T>>>,
    ) -> Self
    where
        W: Stream<Item = Result<T, E>>,
    {
        let policy = policy.into();
        Self {
            socket,
            meter: client.into().map(Meter::new).map(Arc::new),
            held: None,
            next: None,
            patience: Patience::new(policy.max_delay, (policy.now)()),
            replies: Replies::default(),
            waiters: Waiters::default(),
            closing: None,
            has_ended: false,
            policy,
        }
    }

    /// Whom messages are counted for, with the verbs of a limiter: figures, resetting, what a check would
    /// say.
    pub fn client(&self) -> Option<&Client<S, M>> {
        self.meter.as_ref().map(|meter| &meter.client)
    }

    /// Counts messages for somebody else from now on, such as for a user who has logged in over the
    /// connection.
    pub fn set_client(&mut self, client: impl Into<Option<Client<S, M>>>) {
        self.meter = client.into().map(Meter::new).map(Arc::new);
    }

    /// The socket.
    pub const fn get_ref(&self) -> &W {
        &self.socket
    }

    /// The socket. What is read from it past this is not limited.
    pub const fn get_mut(&mut self) -> &mut W {
        &mut self.socket
    }

    /// The socket. A message that waits is lost.
    pub fn into_inner(self) -> W {
        self.socket
    }
}

/// Nothing in it is ever pinned but the socket, which needs no pinning either.
impl<W: Unpin, S: Strategy, M, T> Unpin for WsThrottle<W, S, M, T> {}

debug_fields!([W: std::fmt::Debug, S: Strategy, M, T] WsThrottle<W, S, M, T>:
    socket, client = |it| it.meter.as_ref().map(|meter| &meter.client), policy);

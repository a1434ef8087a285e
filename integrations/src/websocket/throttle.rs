//! The limited socket.

use std::sync::Arc;

use futures_core::Stream;
use traffik_core::storage::{AsyncStorage, BoxFuture};
use traffik_core::{Strategy, debug_fields};

use super::client_meter::ClientMeter;
use super::hold::HeldMessage;
use super::outgoing::{Replies, SinkWakers};
use super::patience::Patience;
use super::{WsMessage, WsPolicy};
use crate::throttle::Client;

/// A WebSocket with a limit on incoming messages: a stream of the messages that pass, and a sink for outgoing
/// messages, which are not limited. Choose it for chats, games and feeds. To limit the handshake, use a
/// [`Throttle`](crate::Throttle) in the middleware.
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use futures_util::{Sink, Stream, StreamExt};
/// use traffik::runtime::Manual; // in a program: `Tokio` or `Smol`
/// use traffik::web::{ClientKey, MemoryThrottle, WsPolicy, WsThrottle};
/// use tungstenite::{Error, Message};
///
/// async fn chat(
///     socket: impl Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
///     messages: &MemoryThrottle<traffik::FixedWindow>,
/// ) {
///     let client = messages.client_for(ClientKey::connection());
///     let mut socket = WsThrottle::new(socket, client, WsPolicy::new(Manual::new()));
///     while let Some(Ok(message)) = socket.next().await {
///         println!("{message}");
///     }
/// }
/// # }
/// ```
///
/// * **Sockets.** It wraps any stream and sink of [messages](WsMessage) that is `Unpin`: `WebSocket` of axum
///   (feature `axum`), `WebSocketStream` of tokio-tungstenite or async-tungstenite, `HyperWebsocketStream` of
///   hyper-tungstenite. It can be split as the socket can. The only runtime is that of the
///   [policy](WsPolicy).
/// * **Polling.** The program has to read it, as with every WebSocket: pings are answered, and notices sent,
///   while it is polled.
/// * **Waits.** A read waits for a message of the peer without a bound, and for the throttle for at most
///   [`max_delay`](WsPolicy::max_delay). Dropping a future of the stream loses no message; dropping the
///   socket loses a message that waits, and gives up its turn.
/// * **Changes.** The strategy, its enforcement and whether the throttle is enabled are read for each
///   message; cost, class and scope are fixed when the client is made.
/// * **Several limits.** One `WsThrottle` around another checks both, one after the other. To charge all or
///   none use one throttle with an [`All`](traffik_core::All).
pub struct WsThrottle<W, S: Strategy, M, T> {
    pub(super) socket: W,
    /// The client; `None` if the connection is not counted.
    pub(super) meter: Option<Arc<ClientMeter<S, M>>>,
    pub(super) policy: Arc<WsPolicy<S::Cost, T>>,
    /// The message that waits; boxed, since most connections never have one.
    pub(super) held: Option<Box<HeldMessage<S, M, T>>>,
    /// The message that was read after the held one.
    pub(super) next: Option<T>,
    pub(super) patience: Patience,
    pub(super) replies: Replies,
    pub(super) wakers: SinkWakers,
    pub(super) closing: Option<Closing<T>>,
    pub(super) has_ended: bool,
}

/// The close of a connection by the throttle.
pub(super) struct Closing<T> {
    /// The message to send before the close frame.
    pub(super) last: Option<T>,
    /// The close frame, until it is sent.
    pub(super) message: Option<T>,
    /// The sleep that ends the wait for the peer's close frame.
    pub(super) deadline: BoxFuture<'static, ()>,
}

impl<W, S: Strategy, M: AsyncStorage<S> + 'static, T: WsMessage> WsThrottle<W, S, M, T> {
    /// Returns a socket whose incoming messages are limited for this client; `None` limits nothing.
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
            meter: client.into().map(ClientMeter::new).map(Arc::new),
            held: None,
            next: None,
            patience: Patience::new(policy.max_delay, (policy.now)()),
            replies: Replies::default(),
            wakers: SinkWakers::default(),
            closing: None,
            has_ended: false,
            policy,
        }
    }

    /// Returns the client that messages are counted for: for its figures, to reset it, or to predict a check.
    pub fn client(&self) -> Option<&Client<S, M>> {
        self.meter.as_ref().map(|meter| &meter.client)
    }

    /// Sets the client that later messages are counted for, such as a user who has logged in over the
    /// connection.
    pub fn set_client(&mut self, client: impl Into<Option<Client<S, M>>>) {
        self.meter = client.into().map(ClientMeter::new).map(Arc::new);
    }

    /// Returns the socket.
    pub const fn get_ref(&self) -> &W {
        &self.socket
    }

    /// Returns the socket. Messages that are read from it directly are not limited.
    pub const fn get_mut(&mut self) -> &mut W {
        &mut self.socket
    }

    /// Returns the socket, and drops a message that waits.
    pub fn into_inner(self) -> W {
        self.socket
    }
}

/// The socket is the only field that is ever pinned, and it is `Unpin`.
impl<W: Unpin, S: Strategy, M, T> Unpin for WsThrottle<W, S, M, T> {}

debug_fields!([W: std::fmt::Debug, S: Strategy, M, T] WsThrottle<W, S, M, T>:
    socket, client = |it| it.meter.as_ref().map(|meter| &meter.client), policy);

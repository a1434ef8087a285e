//! Limits on the messages of WebSocket connections.
//!
//! The handshake is an HTTP request: a [`Throttle`](crate::Throttle) in the middleware limits it, and a
//! denied client gets a 429 and no connection. For the messages, a [`WsThrottle`] wraps the socket. It is a
//! stream and a sink, as the socket is, and passes the messages that another `Throttle` admits, with any
//! strategy and any storage.
//!
//! ```
//! use std::sync::Arc;
//! use tungstenite::{Error, Message};
//! use traffik::{FixedWindow, rate};
//! use traffik::web::{ClientKey, Throttle, WsAction, WsPolicy, WsThrottle};
//! use traffik::runtime::Tokio;
//! # use futures_util::{Sink, SinkExt, Stream, StreamExt};
//! # trait Socket: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin {}
//! # async fn chat(socket: impl Socket) -> Result<(), Box<dyn std::error::Error>> {
//!
//! // Once for all connections: the limit, and the action for a message beyond it.
//! let messages = Throttle::in_memory("chat", FixedWindow::new(rate!("30/min"))).build()?;
//! let policy = Arc::new(WsPolicy::new(Tokio).action(WsAction::Notice));
//!
//! // For each connection: the client that it is counted for, here the connection itself.
//! let client = messages.client_for(ClientKey::connection());
//! let mut socket = WsThrottle::new(socket, client, policy);
//! while let Some(message) = socket.next().await {
//!     socket.send(message?).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The client of a message
//!
//! | counted by | how |
//! |---|---|
//! | connection | `throttle.client_for(ClientKey::connection())` |
//! | user, across connections | `throttle.client_for(ClientKey::of(&user))`, for any [`Key`][key] |
//! | the handshake's address, header, scope, tenant or tier | [`throttle.client(&request)`][client] |
//!
//! The last one uses the throttle's identifier and functions, and returns `None` for an exempt client.
//!
//! To check a message by hand, call [`client.check()`](crate::Client::check); that needs no `WsThrottle`.
//!
//! # Guarantees
//!
//! * Only data messages are counted. Pings and pongs pass as they come, also past a message that waits. A
//!   close passes after the messages before it.
//! * At most two messages are held: one that waits for the storage or for its turn, and the next one. Then
//!   nothing more is read, so that the peer's own socket fills up. A connection that ends in the meantime is
//!   noticed when reading resumes.
//! * Held messages are stored in the [`WsThrottle`]: dropping a future of its stream loses no message.
//! * Reading pauses for at most [`max_delay`](WsPolicy::max_delay) in total, even if the storage never
//!   answers. The budget recovers at the pace of the time in which reading is not paused. So waiting messages
//!   delay the answer to a ping behind them by at most that time.
//! * A connection that either side closes is closed as the protocol requires: both sides send a close frame.
//! * By default at most one [notice](WsNotices) is sent in a window for dropped messages. At most one is in
//!   flight, so notices do not pile up for a peer that does not read.
//! * A peer that floods the connection does not starve other tasks: after 64 dropped messages the stream
//!   yields to the executor.
//! * An admitted message is decided without an allocation if the storage is in this process.
//!
//! [client]: crate::Throttle::client
//! [key]: traffik_core::Key

mod action;
#[cfg(feature = "axum")]
mod axum;
mod client_meter;
mod decide;
mod deny;
mod error;
mod hold;
mod message;
mod notice;
mod outgoing;
mod patience;
mod policy;
mod reply;
mod sink;
mod stream;
mod throttle;
mod tungstenite;

pub use action::{WsAction, WsAnswer, WsDenial, WsErrorAction, WsOnError};
pub use error::WsError;
pub use message::{WsKind, WsMessage};
pub use notice::{WsExtra, WsNotices};
pub use policy::WsPolicy;
pub use throttle::WsThrottle;

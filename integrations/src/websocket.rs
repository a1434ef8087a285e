//! Limits on the messages of a WebSocket connection, in front of whoever reads them.
//!
//! The handshake is an HTTP request: the [middleware](crate::Throttle) limits it, and a client that is denied gets its 429
//! and no connection. From then on a [`WsThrottle`] stands in the place of the socket. It is a stream and a sink as the
//! socket is, and lets messages through as a [`Throttle`](crate::Throttle) of theirs decides: any strategy, any storage.
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
//! // Once for all connections: how much is allowed, and what becomes of a message that is too many.
//! let messages = Throttle::in_memory("chat", FixedWindow::new(rate!("30/min"))).build()?;
//! let policy = Arc::new(WsPolicy::new(Tokio).action(WsAction::Notice));
//!
//! // For each connection: whom it is counted for, here for itself.
//! let client = messages.client_for(ClientKey::connection());
//! let mut socket = WsThrottle::new(socket, client, policy);
//! while let Some(message) = socket.next().await {
//!     socket.send(message?).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Whom a message is counted for
//!
//! | by | |
//! |---|---|
//! | connection | `throttle.client_for(ClientKey::connection())` |
//! | user, across connections | `throttle.client_for(ClientKey::of(&user))`, for any [`Key`](traffik_core::Key) |
//! | what the handshake tells: address, header, scope, tenant, tier | [`throttle.client(&request)`](crate::Throttle::client), by the identifier and the functions of the throttle; `None` for whoever is exempt |
//!
//! Whoever would rather ask by themselves, about whatever they read, does so with
//! [`client.check()`](crate::Client::check), and needs nothing of this module.
//!
//! # What holds
//!
//! * Only messages of data are counted. Pings, pongs and closes are passed on as they come, past a message that waits.
//! * At most two messages are held: one that waits, for the storage or for its turn, and the one that came after it. From
//!   then on nothing is read, so that the peer's own socket fills up; that it is gone is noticed when reading goes on. All that is held is in the value: whatever is
//!   dropped and polled again, no message is lost or read by halves.
//! * Reading is stopped for no longer than the policy [allows](WsPolicy::at_most), all in all, also by a storage that never
//!   answers: what is stopped is paid back only by as much time in which it was not. So a ping that lies behind messages is
//!   answered by then.
//! * A connection that is closed, by the peer or for what it sends, is closed as the protocol has it: both say so.
//! * A message that is dropped is followed by at most one [notice](WsNotices) in a window, of which at most one is on its
//!   way: for a peer that does not read nothing piles up.
//! * Whoever goes on sending what is dropped does not keep others from running: after 64 messages they get their turn.
//! * Whatever an admitted message takes is decided without an allocation, where the storage is of this process.

mod action;
#[cfg(feature = "axum")]
mod axum;
mod decide;
mod deny;
mod error;
mod hold;
mod message;
mod meter;
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

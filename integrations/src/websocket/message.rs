//! The interface to WebSocket messages.

/// A message of an implementation of the WebSocket protocol. The messages of axum and of tungstenite, and so
/// of all libraries built on tungstenite, implement it. For another implementation, wrap its message in a
/// type of yours, and convert in the stream and the sink.
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use traffik::web::{WsKind, WsMessage};
/// use tungstenite::Message;
///
/// let message = <Message as WsMessage>::text("hello".to_owned());
/// assert_eq!((message.kind(), message.size()), (WsKind::Data, 5));
/// # }
/// ```
pub trait WsMessage: Sized {
    /// Returns the kind of the message.
    fn kind(&self) -> WsKind;

    /// Returns the length of the payload in bytes.
    fn size(&self) -> usize;

    /// Returns a text message.
    fn text(text: String) -> Self;

    /// Returns a message that closes the connection, with a code of RFC 6455, section 7.4, and a reason of at
    /// most 123 bytes.
    fn close(code: u16, reason: String) -> Self;
}

/// The kind of a message: only data messages are counted.
///
/// ```
/// # #[cfg(feature = "websocket")] {
/// use traffik::web::{WsKind, WsMessage};
///
/// assert_eq!(tungstenite::Message::Ping(Default::default()).kind(), WsKind::Control);
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WsKind {
    /// Text or bytes; counted.
    Data,
    /// A ping or a pong; never counted, and passed on as it comes.
    Control,
    /// The close frame; never counted, and passed on after all messages before it.
    Close,
}

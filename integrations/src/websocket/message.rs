//! What is asked of a WebSocket message.

/// A message of some implementation of the protocol.
///
/// That of tungstenite is one, and so of all that are built on it. Another implementation's is wrapped in a type of
/// yours, on its way out of the stream and into the sink.
pub trait WsMessage: Sized {
    /// What kind of message it is.
    fn kind(&self) -> WsKind;

    /// How many bytes of payload it has.
    fn size(&self) -> usize;

    /// A message of text.
    fn text(text: String) -> Self;

    /// A message that closes the connection, with a code of RFC 6455, section 7.4, and a reason of at most 123 bytes.
    fn close(code: u16, reason: String) -> Self;
}

/// What kind of message one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WsKind {
    /// Text or bytes: what is counted.
    Data,
    /// A ping or a pong: passed on as it comes, and never counted.
    Control,
    /// The end of what the peer sends: never counted, and passed on after all that came before it.
    Close,
}

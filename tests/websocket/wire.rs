//! Two ends of tungstenite over memory, on virtual time.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use traffik::runtime::{Manual, Runtime};
use traffik::storage::{AsyncStorage, Local};
use traffik::web::{Client, ClientKey, Throttle, WsError, WsPolicy, WsThrottle};
use traffik::{Memory, Strategy};

pub(crate) type Socket = WebSocketStream<DuplexStream>;
pub(crate) type Throttled<S, M> = WsThrottle<Socket, S, M, Message>;
pub(crate) type InMemory<S> = Local<Arc<Memory<S, Manual>>>;

/// The server's end and the client's; so many bytes are on their way at most.
pub(crate) async fn pair(room: usize) -> (Socket, Socket) {
    // Each message is sent at once, and not gathered.
    pair_that_gathers(room, 0).await
}

/// The same, where what is written is sent when it is so much, or flushed.
pub(crate) async fn pair_that_gathers(room: usize, bytes: usize) -> (Socket, Socket) {
    let (server, client) = duplex(room);
    let config = Some(WebSocketConfig::default().write_buffer_size(bytes));
    let server = WebSocketStream::from_raw_socket(server, Role::Server, config).await;
    (server, WebSocketStream::from_raw_socket(client, Role::Client, config).await)
}

pub(crate) fn memory<S: Strategy>(runtime: &Manual) -> InMemory<S> {
    Local(Arc::new(Memory::builder().capacity(256).clock(runtime.clone()).build()))
}

/// A client of a limit of its own.
pub(crate) fn client<S: Strategy>(runtime: &Manual, strategy: S) -> Client<S, InMemory<S>> {
    let throttle = Throttle::builder("messages", strategy, memory(runtime)).build().unwrap();
    throttle.client_for(ClientKey::connection())
}

/// Sends back each message that passes, until the connection ends; an error is sent as words.
pub(crate) async fn echo<S: Strategy, M: AsyncStorage<S> + 'static>(mut socket: Throttled<S, M>) {
    while let Some(message) = socket.next().await {
        let answer = match message {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => message,
            Ok(_) => continue,
            Err(WsError::Socket(_)) => return,
            Err(error) => Message::text(format!("raised: {error}")),
        };
        if socket.send(answer).await.is_err() {
            return;
        }
    }
}

/// A server that echoes under this limit and policy, and the client's end of the connection to it.
pub(crate) async fn serve<S: Strategy>(
    runtime: &Manual,
    strategy: S,
    policy: WsPolicy<S::Cost, Message>,
) -> Socket {
    let (server, socket) = pair(1 << 16).await;
    runtime.spawn(echo(WsThrottle::new(server, client(runtime, strategy), policy)));
    socket
}

pub(crate) async fn send(socket: &mut Socket, texts: impl IntoIterator<Item = impl Into<String>>) {
    for text in texts {
        socket.feed(Message::text(text.into())).await.unwrap();
    }
    socket.flush().await.unwrap();
}

/// The next event, in words: text as it is, other messages by their kind, and the end as "end".
pub(crate) async fn receive(socket: &mut Socket) -> String {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => text.to_string(),
        Some(Ok(Message::Close(Some(frame)))) => format!("close {} {}", frame.code, frame.reason),
        Some(Ok(Message::Pong(bytes))) => format!("pong {}", String::from_utf8_lossy(&bytes)),
        Some(Ok(other)) => format!("{other:?}"),
        Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => "end".to_owned(),
        Some(Err(error)) => format!("error {error}"),
    }
}

/// The next events, this number of them.
pub(crate) async fn receive_all(socket: &mut Socket, number: usize) -> Vec<String> {
    let mut all = Vec::new();
    for _ in 0..number {
        all.push(receive(socket).await);
    }
    all
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Virtual time since the beginning, in milliseconds.
pub(crate) fn millis(runtime: &Manual) -> u64 {
    runtime.now().as_micros() / 1_000
}

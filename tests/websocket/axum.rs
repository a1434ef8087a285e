//! axum's own WebSocket behind a throttle, over a real socket, asked by another implementation.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message as Theirs};
use traffik::runtime::Tokio;
use traffik::storage::Local;
use traffik::web::{
    Client, MemoryThrottle, Rejection, Throttle, WsAction, WsKind, WsMessage, WsPolicy, WsThrottle,
};
use traffik::{FixedWindow, Memory, rate};

use super::wire::json;

#[derive(Clone)]
struct Chat {
    messages: MemoryThrottle<FixedWindow>,
    policy: Arc<WsPolicy<u32, Message>>,
}

/// The handshake is a request as any other, and names the client of the messages.
async fn upgrade(
    State(chat): State<Chat>,
    upgrade: WebSocketUpgrade,
    request: Request,
) -> Result<Response, Rejection> {
    let client = chat.messages.client(&request).await?;
    Ok(upgrade.on_upgrade(|socket| echo(socket, client, chat.policy)).into_response())
}

async fn echo(
    socket: WebSocket,
    client: Option<Client<FixedWindow, Local<Memory<FixedWindow>>>>,
    policy: Arc<WsPolicy<u32, Message>>,
) {
    let mut socket = WsThrottle::new(socket, client, policy);
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Text(_) | Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn serve(action: WsAction<Message>) -> SocketAddr {
    let chat = Chat {
        messages: Throttle::in_memory("messages", FixedWindow::new(rate!("2/w"))).build().unwrap(),
        policy: Arc::new(WsPolicy::new(Tokio).action(action)),
    };
    let app = Router::new().route("/", any(upgrade)).with_state(chat);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

async fn connect(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async("ws://localhost/", stream).await.unwrap();
    assert_eq!(response.status(), 101);
    socket
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> String {
    match socket.next().await {
        Some(Ok(Theirs::Close(Some(frame)))) => format!("close {} {}", frame.code, frame.reason),
        Some(Ok(message)) => message.to_string(),
        Some(Err(Error::ConnectionClosed)) | None => "end".to_owned(),
        Some(Err(error)) => format!("error {error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axums_own_socket_is_limited() {
    let address = serve(WsAction::Notice).await;
    let mut socket = connect(address).await;
    for message in ["one", "two", "three"] {
        socket.send(Theirs::text(message)).await.unwrap();
    }
    assert_eq!([next(&mut socket).await, next(&mut socket).await], ["one", "two"]);
    assert_eq!(json(&next(&mut socket).await)["type"], "rate_limit");
    // Pings are answered, and another connection of the same client has the same limit.
    socket.send(Theirs::Ping("p".into())).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Theirs::Pong(bytes))) if bytes == "p"));
    let mut other = connect(address).await;
    other.send(Theirs::text("four")).await.unwrap();
    assert_eq!(json(&next(&mut other).await)["type"], "rate_limit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axums_own_socket_is_told_and_closed() {
    let mut socket = connect(serve(WsAction::NoticeThenClose).await).await;
    for message in ["one", "two", "three", "four"] {
        socket.send(Theirs::text(message)).await.unwrap();
    }
    assert_eq!([next(&mut socket).await, next(&mut socket).await], ["one", "two"]);
    assert_eq!(json(&next(&mut socket).await)["type"], "rate_limit");
    assert_eq!(next(&mut socket).await, "close 1008 rate limit exceeded");
    assert_eq!(next(&mut socket).await, "end");
}

#[test]
fn axums_messages_have_their_kinds_and_sizes() {
    let close = <Message as WsMessage>::close(1008, "over".to_owned());
    let cases = [
        (<Message as WsMessage>::text("four".to_owned()), WsKind::Data, 4),
        (Message::Binary(vec![0; 3].into()), WsKind::Data, 3),
        (Message::Ping(vec![0; 2].into()), WsKind::Control, 2),
        (Message::Pong(vec![0; 1].into()), WsKind::Control, 1),
        (close, WsKind::Close, 4),
        (Message::Close(None), WsKind::Close, 0),
    ];
    for (message, kind, size) in cases {
        assert_eq!((message.kind(), message.size()), (kind, size), "{message:?}");
    }
}

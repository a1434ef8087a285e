//! An echo over axum's WebSocket: 3 messages a minute for each address, then a notice and a close (1008).
//! Run it with `cargo run -p traffik-examples --features axum,websocket --bin axum_websocket`.
use std::net::SocketAddr;

use axum::extract::{Request, State, WebSocketUpgrade};
use axum::{Router, response::Response, routing::any, serve};
use futures_util::StreamExt;
use traffik::web::{MemoryThrottle, Rejection, Throttle, WsAction, WsPolicy, WsThrottle};
use traffik::{FixedWindow, rate, runtime::Tokio};

type Messages = MemoryThrottle<FixedWindow>;

async fn echo(State(it): State<Messages>, up: WebSocketUpgrade, r: Request) -> Result<Response, Rejection> {
    let client = it.client(&r).await?; // the client that messages are counted for
    Ok(up.on_upgrade(async |socket| {
        let policy = WsPolicy::new(Tokio).action(WsAction::NoticeThenClose);
        let (sink, stream) = WsThrottle::new(socket, client, policy).split();
        let _ = stream.forward(sink).await;
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let messages = Throttle::in_memory("messages", FixedWindow::new(rate!("3/min"))).build()?;
    let app = Router::new().route("/ws", any(echo)).with_state(messages);
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

//! A chat room on tokio. A user who writes too fast, counted over all connections, gets a notice that other
//! users do not see.
//!
//! `cargo run -p traffik-examples --features websocket --bin websocket_chat`, then open
//! http://127.0.0.1:3000/?user=ann twice, and write.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_tungstenite::HyperWebsocket;
use hyper_tungstenite::tungstenite::{Error, Message};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use traffik::runtime::Tokio;
use traffik::storage::Local;
use traffik::web::{
    Client, HeaderFormat, Identity, PeerAddress, RequestParts, Throttle, Throttled, WsNotices, WsPolicy,
    WsThrottle,
};
use traffik::{Memory, TokenBucket, rate};

type Reply = Response<Full<Bytes>>;
type Messages = Throttle<TokenBucket, Local<Memory<TokenBucket>>>;

/// The state that all connections share.
struct Chat {
    room: broadcast::Sender<String>,
    messages: Messages,
    policy: Arc<WsPolicy<u32, Message>>,
}

/// Returns the user that the query names. A real chat would read a session.
fn user(request: RequestParts<'_>) -> Option<&str> {
    request
        .uri
        .query()?
        .split('&')
        .find_map(|pair| pair.strip_prefix("user="))
        .filter(|user| !user.is_empty())
}

fn answer(chat: &Arc<Chat>, mut request: Request<Incoming>) -> Result<Reply, Error> {
    if !hyper_tungstenite::is_upgrade_request(&request) {
        return Ok(Response::new(Full::from(include_str!("page.html"))));
    }
    let Some(name) = user((&request).into()).map(str::to_owned) else {
        let mut reply = Response::new(Full::from("the user is missing; open /?user=ann\n"));
        *reply.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(reply);
    };
    let (response, socket) = hyper_tungstenite::upgrade(&mut request, None)?;
    let chat = Arc::clone(chat);
    tokio::spawn(async move {
        // Messages are counted for the client of the handshake.
        if let Ok(client) = chat.messages.client(&request).await {
            let _ = talk(&chat, &name, client, socket).await;
        }
    });
    Ok(response)
}

/// Sends this user's messages to the room, and the room's messages to this user.
async fn talk(
    chat: &Chat,
    name: &str,
    client: Option<Client<TokenBucket, Local<Memory<TokenBucket>>>>,
    socket: HyperWebsocket,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut others = chat.room.subscribe();
    let mut socket = WsThrottle::new(socket.await?, client, Arc::clone(&chat.policy));
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let said = json!({ "type": "said", "user": name, "text": text.as_str() });
                    let _ = chat.room.send(said.to_string());
                }
                Some(message) => drop(message?),
                None => return Ok(()),
            },
            // A slow client misses messages.
            said = others.recv() => if let Ok(said) = said {
                socket.send(Message::text(said)).await?;
            },
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    // Three messages at once, then one every two seconds, for a user over all connections.
    let messages = Throttle::in_memory("messages", TokenBucket::new(rate!("30/min")).burst(3)?)
        .identifier(|request: RequestParts<'_>| {
            user(request).map_or_else(Identity::anonymous, |user| Identity::of(b'h', user.as_bytes()))
        })
        .build()?;
    let policy = WsPolicy::new(Tokio).notices(WsNotices::EachWait).notice_by(|denial| {
        let seconds = denial.retry_after().unwrap_or(Duration::MAX).as_secs_f64().ceil();
        let text = format!("Easy! The others are still reading. Write again in {seconds} s.");
        Message::text(json!({ "type": "rate_limit", "text": text, "retry_after": seconds }).to_string())
    });
    let chat = Arc::new(Chat { room: broadcast::channel(100).0, messages, policy: Arc::new(policy) });

    // Handshakes are limited too, so that a client cannot open connection after connection.
    let handshakes =
        Throttle::in_memory("handshakes", TokenBucket::new(rate!("60/min"))).headers(HeaderFormat::Draft10);
    let chat = service_fn(move |request| {
        let reply = answer(&chat, request).unwrap_or_else(|error| {
            let mut reply = Response::new(Full::from(format!("{error}\n")));
            *reply.status_mut() = StatusCode::BAD_REQUEST;
            reply
        });
        async { Ok::<_, Infallible>(reply) }
    });
    let service = Throttled::new(chat, handshakes.build()?);

    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddress::new(peer));
                service.call(request)
            });
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

//! Over real sockets: handshakes through the middleware, as a hyper service and as a tower layer, and messages after them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_tungstenite::upgrade;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use smol_hyper::rt::FuturesIo;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tower::Layer;
use traffik::runtime::{Runtime, Smol, Tokio};
use traffik::web::{HeaderFormat, PeerAddress, Throttle, ThrottleLayer, Throttled, WsPolicy, WsThrottle};
use traffik::{FixedWindow, TokenBucket, rate};

use super::wire::json;

/// Answers with a WebSocket that echoes, two messages an hour for an address.
fn echoing<R: Runtime>(
    runtime: &R,
) -> impl Fn(Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> + Clone + Send + Sync + use<R> {
    let messages = Throttle::in_memory("messages", FixedWindow::new(rate!("2/w"))).build().unwrap();
    let (policy, runtime) = (Arc::new(WsPolicy::new(runtime.clone())), runtime.clone());
    move |mut request| {
        let Ok((response, socket)) = upgrade(&mut request, None) else {
            let mut response = Response::new(Full::from("no WebSocket"));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(response);
        };
        let (messages, policy) = (messages.clone(), Arc::clone(&policy));
        runtime.spawn(async move {
            let client = messages.client(&request).await.unwrap();
            let mut socket = WsThrottle::new(socket.await.unwrap(), client, policy);
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() && socket.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(response)
    }
}

/// Three handshakes and no more; and three messages, of which one is too many, though on another connection.
async fn judge<S>(mut connect: impl AsyncFnMut() -> S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut open = Vec::new();
    for left in ["2", "1", "0"] {
        let (socket, response) = client_async("ws://localhost/", connect().await).await.unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["x-ratelimit-remaining"], left);
        open.push(socket);
    }
    match client_async("ws://localhost/", connect().await).await {
        Err(Error::Http(response)) => {
            assert_eq!(response.status(), 429);
            assert!(response.headers().contains_key("retry-after"));
            assert_eq!(response.headers()["x-ratelimit-remaining"], "0");
            assert_eq!(response.headers()["content-type"], "application/problem+json");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
    let mut told = Vec::new();
    for socket in &mut open {
        told.push(said(socket).await);
    }
    assert_eq!(told[..2], ["hello", "hello"]);
    assert_eq!(json(&told[2])["type"], "rate_limit");
}

async fn said<S>(socket: &mut WebSocketStream<S>) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    socket.send(Message::text("hello")).await.unwrap();
    socket.next().await.unwrap().unwrap().to_string()
}

/// A service that knows the address of the peer.
fn known<S, B>(
    service: S,
    peer: SocketAddr,
) -> impl Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future = S::Future>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body,
{
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress::new(peer));
        service.call(request)
    })
}

/// Serves on tokio, on a free port, as long as the test runs.
async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = known(service.clone(), peer);
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    address
}

fn handshakes()
-> traffik::web::ThrottleBuilder<TokenBucket, traffik::storage::Local<traffik::Memory<TokenBucket>>> {
    Throttle::in_memory("handshakes", TokenBucket::new(rate!("3/w"))).headers(HeaderFormat::XRateLimit)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_hyper_service_on_tokio() {
    let echo = echoing(&Tokio);
    let service = Throttled::new(
        service_fn(move |request| std::future::ready(echo(request))),
        handshakes().build().unwrap(),
    );
    let address = serve(service).await;
    judge(async || tokio::net::TcpStream::connect(address).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_tower_layer_on_tokio() {
    let echo = echoing(&Tokio);
    let service = tower::service_fn(move |request| std::future::ready(echo(request)));
    let service = TowerToHyperService::new(ThrottleLayer::new(handshakes().build().unwrap()).layer(service));
    let address = serve(service).await;
    judge(async || tokio::net::TcpStream::connect(address).await.unwrap()).await;
}

/// Both ends, and no runtime of tokio's.
#[test]
fn through_a_hyper_service_on_smol() {
    let echo = echoing(&Smol::new());
    let service = Throttled::new(
        service_fn(move |request| std::future::ready(echo(request))),
        handshakes().build().unwrap(),
    );
    smol::block_on(async {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        smol::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let service = known(service.clone(), peer);
                let connection = http1::Builder::new().serve_connection(FuturesIo::new(stream), service);
                smol::spawn(async { drop(connection.with_upgrades().await) }).detach();
            }
        })
        .detach();
        // hyper's traits are what both of them know.
        judge(async || TokioIo::new(FuturesIo::new(smol::net::TcpStream::connect(address).await.unwrap())))
            .await;
    });
}

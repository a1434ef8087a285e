//! The peers of requests, as the servers in use note them; and the refusal where none does.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use traffik::web::{CompositeKey, Peer, Route, Rule, Throttle, ThrottleLayer};
use traffik::{Gcra, TokenBucket, rate};

/// Asks from one of the addresses of this machine, by HTTP/1.1 or HTTP/2.
pub(crate) async fn ask(source: u8, http2: bool, address: SocketAddr, path: &str) -> Response<Incoming> {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some([127, 0, 0, source].into()));
    let client = Client::builder(TokioExecutor::new()).http2_only(http2).build(connector);
    let request = Request::get(format!("http://{address}{path}")).body(Empty::<Bytes>::new()).unwrap();
    client.request(request).await.unwrap()
}

async fn axum(app: Router, tells_peers: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        if tells_peers {
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, app).await.unwrap();
        } else {
            axum::serve(listener, app).await.unwrap();
        }
    });
    address
}

/// All clients would share one limit: five of them on three an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_tells_the_peer_requests_are_refused_with_the_cure() {
    let app = |peer: Peer| {
        let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("3/h"))).identifier(peer).build();
        Router::new().route("/", get(async || "ok")).layer(ThrottleLayer::new(throttle.unwrap()))
    };
    let address = axum(app(Peer::default()), false).await;
    for source in 1..=5 {
        let response = ask(source, false, address, "/").await;
        assert_eq!(response.status(), 500);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.into()).unwrap();
        assert!(body.contains("into_make_service_with_connect_info::<SocketAddr>()"), "{body}");
    }
    // Told, each has a limit of its own; and one for all there is only by name.
    let address = axum(app(Peer::default()), true).await;
    for source in 1..=5 {
        assert_eq!(ask(source, false, address, "/").await.status(), 200);
    }
    let address = axum(app(Peer::default().or_anonymous()), false).await;
    let mut statuses = Vec::new();
    for source in 1..=5 {
        statuses.push(ask(source, false, address, "/").await.status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

/// A router within another one shows its routes the rest of a path alone; rules go by all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_within_a_nested_router_goes_by_the_whole_path() {
    let by_route = CompositeKey::new().and(Peer::default()).and(Route::new(["/api/users/{id}"]).unwrap());
    let users = Throttle::in_memory("users", Gcra::new(rate!("1/h"))).identifier(by_route);
    let users = users.apply_to(Rule::new().prefix("/api")).build().unwrap();
    let inner = Router::new().route("/users/{id}", get(async || "user")).layer(ThrottleLayer::new(users));
    let address = axum(Router::new().nest("/api", inner), true).await;
    assert_eq!(ask(1, false, address, "/api/users/1").await.status(), 200);
    assert_eq!(ask(1, false, address, "/api/users/2").await.status(), 429);
}

/// tonic notes the address in a type of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonics_peers_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let throttle = Throttle::in_memory("api", Gcra::new(rate!("1/h"))).build().unwrap();
    let service = tower::service_fn(async |_: Request<tonic::body::Body>| {
        Ok::<_, std::convert::Infallible>(Response::new(tonic::body::Body::empty()))
    });
    let service = tower::Layer::layer(&ThrottleLayer::new(throttle), service);
    let server =
        tonic::transport::Server::builder().serve_with_incoming(service, TcpIncoming::from(listener));
    tokio::spawn(server);
    for (source, expected) in [(1, 200), (2, 200), (1, 429), (2, 429), (3, 200)] {
        assert_eq!(ask(source, true, address, "/a.B/c").await.status(), expected, "from 127.0.0.{source}");
    }
}

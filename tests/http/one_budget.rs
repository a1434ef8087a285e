//! One throttle in front of an axum router and of a gRPC service: a client has one budget for both.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tonic::Code;
use tonic::transport::server::TcpIncoming;
use tower::Layer;
use traffik::web::{Throttle, ThrottleLayer};
use traffik::{TokenBucket, rate};

use crate::grpc::{call, caller, echo};
use crate::peers::ask;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_and_grpc_are_counted_together() {
    let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("4/h"))).build().unwrap();
    let layer = ThrottleLayer::new(throttle);

    let app = Router::new().route("/", get(async || "hello")).layer(layer.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let grpc = listener.local_addr().unwrap();
    let service = layer.layer(tower::service_fn(echo::<tonic::body::Body>));
    let server = tonic::transport::Server::builder();
    tokio::spawn(server.serve_with_incoming(service, TcpIncoming::from(listener)));

    let mut caller = caller(grpc);
    assert_eq!(call(&mut caller, "one").await.unwrap(), "one");
    assert_eq!(ask(1, false, http, "/").await.status(), 200);
    assert_eq!(call(&mut caller, "three").await.unwrap(), "three");
    assert_eq!(ask(1, true, http, "/").await.status(), 200);
    // Four are used, whichever way they came.
    let denied = call(&mut caller, "five").await.unwrap_err();
    assert_eq!(denied.code(), Code::ResourceExhausted);
    assert_eq!(denied.code() as i32, 8);
    assert_eq!(ask(1, false, http, "/").await.status(), 429);
    assert_eq!(ask(2, false, http, "/").await.status(), 200, "another client has a budget of its own");
}

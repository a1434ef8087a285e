//! A tonic gRPC service and an axum page behind one limit: a client has one budget for both.
//! Run it with `cargo run -p traffik-examples --features tonic --bin tonic_service`, then
//! `grpcurl -plaintext 127.0.0.1:3000 grpc.health.v1.Health/Check` and `curl -i http://127.0.0.1:3000`,
//! more than five times together: the answers are then `RESOURCE_EXHAUSTED` and 429.

use std::net::SocketAddr;

use axum::routing::get;
use axum::serve;
use tonic::service::Routes;
use traffik::web::{Throttle, ThrottleLayer};
use traffik::{TokenBucket, rate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("5/min"))).build()?;
    let layer = ThrottleLayer::new(throttle);
    // A tonic server takes the same layer: `Server::builder().layer(layer.clone())`.
    let (_, health) = tonic_health::server::health_reporter();
    let grpc = Routes::new(health).into_axum_router();
    let app = grpc.route("/", get(async || "hello\n")).layer(layer);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

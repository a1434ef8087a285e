//! A limit for one route and another for all routes. Requests that match no route are not counted.
//!
//! `cargo run -p traffik-examples --features axum --bin axum_routes`, then twice
//! `curl -i http://127.0.0.1:3000/report`.

use std::net::SocketAddr;

use axum::routing::get;
use axum::{Router, serve};
use traffik::web::{MemoryThrottle, Throttle, ThrottleError, ThrottleLayer};
use traffik::{Rate, TokenBucket, rate};

fn limited(uid: &str, rate: Rate) -> Result<ThrottleLayer<MemoryThrottle<TokenBucket>>, ThrottleError> {
    Ok(ThrottleLayer::new(Throttle::in_memory(uid, TokenBucket::new(rate)).build()?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .route("/report", get(async || "a long one\n").layer(limited("reports", rate!("1/min"))?))
        .route_layer(limited("api", rate!("5/min"))?);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

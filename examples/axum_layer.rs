//! A whole router behind one limit: 100 requests a minute for each address.
//!
//! `cargo run -p traffik-examples --features axum --bin axum_layer`, then `curl -i http://127.0.0.1:3000`.

use std::net::SocketAddr;

use axum::routing::get;
use axum::{Router, serve};
use traffik::web::{HeaderFormat, Throttle, ThrottleLayer};
use traffik::{TokenBucket, rate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = TokenBucket::new(rate!("100/min"));
    let throttle = Throttle::in_memory("api", limit).headers(HeaderFormat::Draft10).build()?;
    let app = Router::new().route("/", get(async || "hello\n")).layer(ThrottleLayer::new(throttle));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // `ConnectInfo` gives the throttle the peer's address.
    serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

//! A handler that charges one unit for each row it exports. `?` returns a denial as the throttle's 429
//! response.
//!
//! `cargo run -p traffik-examples --features axum --bin axum_cost`, then
//! `curl -i http://127.0.0.1:3000/export/40` more than twice.

use std::net::SocketAddr;

use axum::extract::{Path, Request, State};
use axum::routing::get;
use axum::{Router, serve};
use traffik::web::{MemoryThrottle, Rejection, Throttle};
use traffik::{TokenBucket, rate};

type Rows = MemoryThrottle<TokenBucket>;

async fn export(State(rows): State<Rows>, Path(n): Path<u32>, request: Request) -> Result<String, Rejection> {
    rows.hit_n(&request, n).await?;
    Ok(format!("{n} rows\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows = Throttle::in_memory("rows", TokenBucket::new(rate!("100/h"))).build()?;
    let app = Router::new().route("/export/{n}", get(export)).with_state(rows);
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

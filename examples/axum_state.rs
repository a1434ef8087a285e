//! Throttles in the state of a router, on any storage. `curl 127.0.0.1:3000` shows the remaining requests.
//! Run it with `cargo run -p traffik-examples --features axum --bin axum_state`.
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::{Router, routing::get, serve};
use traffik::web::{DynThrottle, MemoryThrottle, Rejection, Throttle};
use traffik::{FixedWindow, Memory, TokenBucket, rate, storage::DynStorage, storage::Local};

#[derive(Clone)]
struct App(MemoryThrottle<FixedWindow>, DynThrottle<TokenBucket>); // in memory; on any storage

async fn left(State(App(requests, writes)): State<App>, request: Request) -> Result<String, Rejection> {
    writes.hit(&request).await?;
    let pass = requests.hit(&request).await?;
    Ok(format!("{} left\n", pass.verdict().map_or(0, |decision| decision.remaining())))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let storage: DynStorage<TokenBucket> = Arc::new(Local(Memory::new(1_000))); // or Redis in layers
    let requests = Throttle::in_memory("requests", FixedWindow::new(rate!("3/min"))).build()?;
    let app = App(requests, Throttle::builder("writes", TokenBucket::new(rate!("100/s")), storage).build()?);
    let app = Router::new().route("/", get(left)).with_state(app);
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

//! An API on axum: a limit for all routes, another for reports, a cost for exports, and a limit on messages.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, Request, State, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get};
use futures_util::StreamExt;
use tokio::net::TcpListener;
use traffik::runtime::Tokio;
use traffik::web::{
    MemoryThrottle, Rejection, Throttle, ThrottleError, ThrottleLayer, WsAction, WsPolicy, WsThrottle,
};
use traffik::{Rate, TokenBucket, rate};

#[derive(Clone)]
struct App {
    rows: MemoryThrottle<TokenBucket>,
    messages: MemoryThrottle<TokenBucket>,
}

fn throttle(uid: &str, rate: Rate) -> Result<MemoryThrottle<TokenBucket>, ThrottleError> {
    Throttle::in_memory(uid, TokenBucket::new(rate)).build()
}

async fn export(State(app): State<App>, Path(n): Path<u32>, request: Request) -> Result<String, Rejection> {
    app.rows.hit_n(&request, n).await?; // `?` returns a denial as a 429
    Ok(format!("{n} rows\n"))
}

async fn echo(State(app): State<App>, up: WebSocketUpgrade, request: Request) -> Result<Response, Rejection> {
    let client = app.messages.client(&request).await?;
    Ok(up.on_upgrade(async |socket| {
        let policy = WsPolicy::new(Tokio).action(WsAction::NoticeThenClose);
        let (sink, stream) = WsThrottle::new(socket, client, policy).split();
        let _ = stream.forward(sink).await;
    }))
}

fn router() -> Result<Router, ThrottleError> {
    let app = App { rows: throttle("rows", rate!("100/h"))?, messages: throttle("messages", rate!("3/h"))? };
    let reports = ThrottleLayer::new(throttle("reports", rate!("2/h"))?);
    Ok(Router::new()
        .route("/", get(async || "hello\n"))
        .route("/report", get(async || "a long one\n").layer(reports))
        .route("/export/{n}", get(export))
        .route("/ws", any(echo))
        .layer(ThrottleLayer::new(throttle("api", rate!("10/h"))?))
        .with_state(app))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, router()?.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

#[cfg(test)]
mod tests;

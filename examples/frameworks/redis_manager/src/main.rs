//! An API on axum that reuses its Redis connection for the limit, which all instances then share.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Client};
use tokio::net::TcpListener;
use traffik::web::{Throttle, ThrottleLayer};
use traffik::{RedisStorage, TokenBucket, rate};

type BoxError = Box<dyn std::error::Error>;

async fn visits(State(mut redis): State<ConnectionManager>) -> Result<String, StatusCode> {
    let visits: u64 = redis.incr("visits", 1).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(format!("{visits}\n"))
}

fn router(redis: ConnectionManager) -> Result<Router, BoxError> {
    let storage = RedisStorage::connection(redis.clone()).namespace("limits").build()?;
    let throttle = Throttle::builder("api", TokenBucket::new(rate!("5/h")), storage).build()?;
    Ok(Router::new().route("/", get(visits)).layer(ThrottleLayer::new(throttle)).with_state(redis))
}

async fn serve(listener: TcpListener, redis: ConnectionManager) -> Result<(), BoxError> {
    let service = router(redis)?.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, service).await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let redis = Client::open("redis://127.0.0.1")?.get_connection_manager().await?;
    serve(TcpListener::bind("127.0.0.1:3000").await?, redis).await
}

#[cfg(test)]
mod tests;

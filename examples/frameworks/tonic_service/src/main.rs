//! A gRPC service and an HTTP page in one process: a client has one budget for both.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tonic::service::Routes;
use traffik::web::{Throttle, ThrottleError, ThrottleLayer};
use traffik::{TokenBucket, rate};

fn router() -> Result<Router, ThrottleError> {
    let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("5/h"))).build()?;
    let (_, health) = tonic_health::server::health_reporter(); // stands in for your service
    Ok(Routes::new(health)
        .into_axum_router()
        .route("/", get(async || "hello\n"))
        .layer(ThrottleLayer::new(throttle)))
}

async fn serve(listener: TcpListener) -> Result<(), Box<dyn std::error::Error>> {
    let service = router()?.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, service).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    serve(TcpListener::bind("127.0.0.1:3000").await?).await
}

#[cfg(test)]
mod tests;

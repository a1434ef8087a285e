//! An API on axum: a burst and a sustained rate for each user, a cost for each route, and the remaining
//! budget in the handler.
//!
//! `cargo run -p traffik-examples --features axum --bin axum_api`, then
//! `curl -i -H 'x-user: ann' http://127.0.0.1:3000/search` more than twice.

use std::net::SocketAddr;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum::{Router, serve};
use traffik::web::{
    FromExtension, HeaderFormat, Identify, Peer, RateLimitStatus, RequestParts, Throttle, ThrottleLayer,
};
use traffik::{All, TokenBucket, rate};

/// The user who has logged in.
#[derive(Clone)]
struct User(String);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Ten at once, refilled at 10/min, and 1000 an hour: a request is charged to both limits or to neither.
    let limits = All([TokenBucket::new(rate!("10/min")), TokenBucket::new(rate!("1000/h"))]);
    let by_user = FromExtension::new(|user: &User| user.0.clone());
    let throttle = Throttle::in_memory("api", limits)
        .policies(["burst", "hourly"])
        .headers(HeaderFormat::Draft10)
        // Count users by name, and all other clients by address.
        .identifier(move |request: RequestParts<'_>| match request.extensions.get::<User>() {
            Some(_) => by_user.identify(request),
            None => Peer::default().identify(request),
        })
        .cost_by(|request| if request.uri.path() == "/search" { 5 } else { 1 })
        .expose()
        .build()?;
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .route("/search", get(search))
        .layer(ThrottleLayer::new(throttle))
        // The layer added last runs first, so the throttle sees the user that it inserts.
        .layer(from_fn(identify_user));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

async fn search(status: RateLimitStatus) -> String {
    let left = status.policies().map(|(name, decision)| format!("{name}: {} left\n", decision.remaining()));
    left.collect()
}

/// Stands in for your authentication layer. A real one must not trust a header.
async fn identify_user(mut request: Request, next: Next) -> Response {
    let user = request.headers().get("x-user").and_then(|user| user.to_str().ok()).map(str::to_owned);
    if let Some(user) = user {
        request.extensions_mut().insert(User(user));
    }
    next.run(request).await
}

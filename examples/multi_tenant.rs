//! A storage for each tenant, created on its first request, and a rate by the tenant's plan.
//!
//! `cargo run -p traffik-examples --features axum --bin multi_tenant`, then
//! `curl -i -H 'x-tenant: small' http://127.0.0.1:3000` more than twice, and the same as `large`.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve};
use http::StatusCode;
use traffik::storage::Local;
use traffik::web::{FromExtension, RequestParts, Tenants, Throttle, ThrottleLayer};
use traffik::{Memory, Rate, TokenBucket, rate};

/// The tenant of a request, inserted by the outer layer.
#[derive(Clone, Copy)]
struct Tenant {
    name: &'static str,
    per_hour: u32,
}

const TENANTS: [Tenant; 2] =
    [Tenant { name: "small", per_hour: 2 }, Tenant { name: "large", per_hour: 2_000 }];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // At most 1000 storages are kept. A tenant with its own Redis server would get a storage on it here.
    let storages = Tenants::new(1_000);
    let storage = move |request: RequestParts<'_>| {
        let name = request.extensions.get().map_or("", |tenant: &Tenant| tenant.name);
        storages.get(name, |_| Arc::new(Local(Memory::new(10_000))))
    };
    let throttle = Throttle::builder_by("api", TokenBucket::new(rate!("1/h")), storage)
        .strategy_by(|request| {
            let per_hour = request.extensions.get().map_or(1, |tenant: &Tenant| tenant.per_hour);
            TokenBucket::new(Rate::per_hour(per_hour))
        })
        .identifier(FromExtension::new(|tenant: &Tenant| tenant.name))
        .build()?;
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .layer(ThrottleLayer::new(throttle))
        // The layer added last runs first, so the throttle sees the tenant that it inserts.
        .layer(from_fn(tenant));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, app).await?;
    Ok(())
}

/// Stands in for your authentication layer. A real one must not trust a header.
async fn tenant(mut request: Request, next: Next) -> Response {
    let name = request.headers().get("x-tenant").and_then(|name| name.to_str().ok());
    let Some(tenant) = TENANTS.into_iter().find(|tenant| Some(tenant.name) == name) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    request.extensions_mut().insert(tenant);
    next.run(request).await
}

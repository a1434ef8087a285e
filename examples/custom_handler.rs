//! Custom responses to denials, and a custom action when the storage fails, for all throttles on a storage.
//!
//! `cargo run -p traffik-examples --features axum --bin custom_handler`, then twice
//! `curl -i -H 'x-api-key: ann' -d '' http://127.0.0.1:3000`.

use std::sync::Arc;

use axum::routing::get;
use axum::{Router, serve};
use http::HeaderName;
use http::header::{CONTENT_TYPE, HeaderValue};
use traffik::storage::Local;
use traffik::web::{ApiKey, ErrorAction, OnError, Rule, ThrottleDefaults, ThrottleLayer, ThrottleSet};
use traffik::{Gcra, Memory, rate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let base = ThrottleDefaults::new(Arc::new(Local(Memory::new(10_000))))
        .identifier(ApiKey::new(HeaderName::from_static("x-api-key")))
        .on_throttled(|denial| {
            // Keep the default status and headers, but write a body for people.
            let mut response = denial.response();
            let wait = denial
                .retry_after()
                .map_or("never".to_owned(), |wait| format!("in {} s", wait.as_secs_f64().ceil()));
            *response.body_mut() = format!("Too many {}; come back {wait}.\n", denial.throttle).into();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            response
        })
        .on_error(OnError::ask(|error| {
            eprintln!("throttle {} cannot decide, its storage failed: {}", error.throttle, error.failure);
            if error.request.method.is_safe() { ErrorAction::Allow } else { ErrorAction::Throttle }
        }));
    let requests = base.throttle("requests", Gcra::new(rate!("1/s")).burst(5)?).build()?;
    let posts = base.throttle("posts", Gcra::new(rate!("1/min")));
    let posts = posts.apply_to(Rule::new().methods([http::Method::POST])).build()?;
    let app = Router::new()
        .route("/", get(async || "hello\n").post(async || "posted\n"))
        .layer(ThrottleLayer::new(ThrottleSet::new().and(requests).and(posts)));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, app).await?;
    Ok(())
}

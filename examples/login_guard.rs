//! A limit on failed logins. Every attempt is charged first, so at most five wrong passwords are tried even
//! if many requests come at once; a correct password is refunded.
//!
//! `cargo run -p traffik-examples --features axum --bin login_guard`, then
//! `curl -i -d 123456 http://127.0.0.1:3000/login` more than five times. From then on even
//! `-d 'correct horse'`, which works any number of times before, is denied.

use std::net::SocketAddr;

use axum::routing::post;
use axum::{Router, serve};
use http::StatusCode;
use traffik::web::{Throttle, ThrottleLayer};
use traffik::{TokenBucket, rate};

async fn login(password: String) -> Result<&'static str, StatusCode> {
    tokio::task::yield_now().await; // stands in for a slow lookup
    if password == "correct horse" { Ok("welcome\n") } else { Err(StatusCode::UNAUTHORIZED) }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let throttle = Throttle::in_memory("login", TokenBucket::new(rate!("5/15min")))
        .charge_if(|response| response.status == StatusCode::UNAUTHORIZED)
        .build()?;
    let app = Router::new().route("/login", post(login).layer(ThrottleLayer::new(throttle)));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

//! An API on actix-web: each address has one budget over all workers, and a search costs 3.

use std::net::TcpListener;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use traffik::web::{RateLimitStatus, Throttle, ThrottleLayer};
use traffik::{TokenBucket, rate};

async fn search(status: RateLimitStatus) -> String {
    status.policies().map(|(name, decision)| format!("{name}: {} left\n", decision.remaining())).collect()
}

fn server(listener: TcpListener) -> Result<Server, Box<dyn std::error::Error>> {
    let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("10/h")))
        .cost_by(|request| if request.uri.path() == "/search" { 3 } else { 1 })
        .expose() // adds `RateLimitStatus` to requests
        .build()?;
    let server = HttpServer::new(move || {
        App::new()
            .wrap(ThrottleLayer::new(throttle.clone()))
            .route("/", web::get().to(async || "hello\n"))
            .route("/search", web::get().to(search))
    });
    Ok(server.listen(listener)?.run())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Ok(server(TcpListener::bind("127.0.0.1:3000")?)?.await?)
}

#[cfg(test)]
mod tests;

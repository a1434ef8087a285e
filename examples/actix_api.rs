//! An API on actix-web: one limit by peer address for all workers, a cost for each route, and the remaining
//! budget in the handler.
//!
//! `cargo run -p traffik-examples --features actix --bin actix_api`, then
//! `curl -i http://127.0.0.1:3000/search` more than twice.

use actix_web::{App, HttpServer, web};
use traffik::web::{HeaderFormat, RateLimitStatus, Throttle, ThrottleLayer};
use traffik::{TokenBucket, rate};

async fn search(status: RateLimitStatus) -> String {
    let left = status.policies().map(|(name, decision)| format!("{name}: {} left\n", decision.remaining()));
    left.collect()
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("10/min")))
        .headers(HeaderFormat::Draft10)
        .cost_by(|request| if request.uri.path() == "/search" { 5 } else { 1 })
        .expose()
        .build()?;
    let server = HttpServer::new(move || {
        App::new()
            .wrap(ThrottleLayer::new(throttle.clone())) // each worker has a clone; all share one budget
            .route("/", web::get().to(async || "hello\n"))
            .route("/search", web::get().to(search))
    });
    let server = server.bind(std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned()))?;
    server.addrs().iter().for_each(|address| println!("listening on http://{address}"));
    Ok(server.run().await?)
}

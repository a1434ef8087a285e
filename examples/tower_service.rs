//! A tower service behind two throttles that act as one: a request is charged to both or to neither. A tonic
//! server is a tower service too: a denied gRPC call fails with `RESOURCE_EXHAUSTED`.
//!
//! `cargo run -p traffik-examples --features tower --bin tower_service`, then twice
//! `curl -i --http2-prior-knowledge -H 'x-api-key: ann' -H 'content-type: application/grpc' -d '' \
//!      http://127.0.0.1:3000/orders.Orders/Create`

use std::convert::Infallible;

use http::{HeaderName, Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tower::{ServiceBuilder, service_fn};
use traffik::web::{ApiKey, Rule, Throttle, ThrottleLayer, ThrottleSet};
use traffik::{Gcra, TokenBucket, rate};

async fn serve(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from(format!("{}: done\n", request.uri().path()))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // API keys are secrets, so the storage sees only their hashes.
    let by_key = || ApiKey::new(HeaderName::from_static("x-api-key"));
    let all = Throttle::in_memory("all", TokenBucket::new(rate!("100/h"))).identifier(by_key()).build()?;
    let writes = Throttle::in_memory("writes", Gcra::new(rate!("1/min")))
        .identifier(by_key())
        .apply_to(Rule::new().glob("/orders.Orders/Create*"))
        .build()?;
    let layer = ThrottleLayer::new(ThrottleSet::new().and(all).and(writes));
    let service = ServiceBuilder::new().layer(layer).service(service_fn(serve));

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

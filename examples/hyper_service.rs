//! A hyper service behind a throttle that counts by peer address.
//!
//! `cargo run -p traffik-examples --features hyper --bin hyper_service`, then `curl -i http://127.0.0.1:3000`
//! more than five times.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use traffik::web::{HeaderFormat, PeerAddress, Throttle, Throttled};
use traffik::{TokenBucket, rate};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello\n")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = TokenBucket::new(rate!("5/min"));
    let throttle = Throttle::in_memory("hello", limit).headers(HeaderFormat::Draft10).build()?;
    let service = Throttled::new(service_fn(hello), throttle);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let service = service.clone();
        tokio::spawn(async move {
            // hyper does not pass on the peer's address, so insert it where the throttle looks for it.
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddress::new(peer));
                service.call(request)
            });
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

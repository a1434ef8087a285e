//! A web server on smol and hyper, without a tokio runtime, that limits each client by its address.
//!
//! `cargo run -p traffik-examples --features smol --bin smol_server`, then `curl -i http://127.0.0.1:3000`
//! more than five times.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use smol::net::TcpListener;
use smol_hyper::rt::{FuturesIo, SmolTimer};
use traffik::web::{PeerAddress, Throttle, Throttled};
use traffik::{TokenBucket, rate};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello\n")))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let throttle = Throttle::in_memory("hello", TokenBucket::new(rate!("5/10s"))).build()?;
    let service = Throttled::new(service_fn(hello), throttle);

    smol::block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on http://{}", listener.local_addr()?);
        loop {
            let (stream, peer) = listener.accept().await?;
            let service = service.clone();
            let connection = async move {
                // hyper does not pass on the peer's address, so insert it where the throttle looks for it.
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(PeerAddress::new(peer));
                    service.call(request)
                });
                let mut server = http1::Builder::new();
                let _ =
                    server.timer(SmolTimer::new()).serve_connection(FuturesIo::new(stream), service).await;
            };
            smol::spawn(connection).detach();
        }
    })
}

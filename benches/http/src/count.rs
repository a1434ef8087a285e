//! The same thing so many times, for its instructions to be counted.

use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use traffik_bench_support::Counted;
use traffik_integrations::Throttled;

use traffik_bench_http::calls::called;
use traffik_bench_http::service::{PEER, serving, throttle};

/// The part of [`run`] whose instructions are counted where requests come over a connection.
pub(crate) const CONNECTED: Counted = Counted(concat!(module_path!(), "::connected"));

/// Serves `number` requests of a kind.
pub(crate) fn run(kind: &str, number: u64) {
    match kind {
        "bare" => called(&serving(), number),
        "admitted" => called(&Throttled::new(serving(), throttle(true)), number),
        "serving" => connected(serving(), number),
        "served" => connected(Throttled::new(serving(), throttle(true)), number),
        "denied" => connected(Throttled::new(serving(), throttle(false)), number),
        _ => unreachable!("the kinds are those that `main` names"),
    }
}

/// Serves one connection on which another process, which is not counted, asks so often: all that a server does.
#[inline(never)]
fn connected<S, B>(service: S, number: u64)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let program = std::env::current_exe().expect("a program");
        let client = Command::new(program).args(["ask", &address.to_string(), &number.to_string()]).spawn();
        let (stream, _) = listener.accept().await.expect("a connection");
        let service = service_fn(move |mut request| {
            request.extensions_mut().insert(PEER);
            service.call(request)
        });
        // It ends when the client has had enough.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        assert!(client.and_then(|mut client| client.wait()).expect("a client").success());
    });
}

/// Asks `number` times, one request at a time.
pub(crate) fn ask(address: &str, number: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    for _ in 0..number {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        // An answer is short, and comes in one piece.
        assert!(stream.read(&mut buffer)? > 0);
    }
    Ok(())
}

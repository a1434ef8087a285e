//! The server: accepts connections, keeps its own paths out of every limit, and drains when asked to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use traffik::Denied;
use traffik::http::{PeerAddress, ResponseBody};

use crate::limit::{Body, Limited, limited};
use crate::options::Options;
use crate::upstream::text;

/// How long requests under way may take to finish once the server is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How long a client may take to send the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn run(options: Options) -> Result<(), String> {
    let limited = limited(&options)?;
    let listen = options.listen;
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("--listen {listen}: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("--listen {listen}: {error}"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    println!("listening on http://{address}");

    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    server.http2().timer(TokioTimer::new());
    let open = GracefulShutdown::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(_) => {
                    // Out of file descriptors, most likely: connections that end will free some.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        // A socket that is gone already will say so when it is read.
        let _ = stream.set_nodelay(true);
        let limited = limited.clone();
        let service = service_fn(move |request| route(request, peer, limited.clone()));
        let connection = open.watch(server.serve_connection(TokioIo::new(stream), service).into_owned());
        tokio::spawn(async move {
            // What goes wrong on one connection concerns its client, who knows.
            let _ = connection.await;
        });
    }
    drop(listener);
    // Whoever is not done by then is cut off: that is what the deadline is for.
    let _ = tokio::time::timeout(DRAIN, open.shutdown()).await;
    Ok(())
}

async fn route(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    limited: Limited,
) -> Result<Response<Body>, Infallible> {
    if request.uri().path().starts_with("/_traffik/") {
        return Ok(own(&request, peer, &limited).map(ResponseBody::from));
    }
    request.extensions_mut().insert(PeerAddress(peer));
    (limited.handler)(request).await
}

/// Our own paths: for whoever is on this machine and not passing anybody on.
fn own(
    request: &Request<Incoming>,
    peer: SocketAddr,
    limited: &Limited,
) -> Response<http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, hyper::Error>> {
    const FORWARDING: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];
    let forwarded = FORWARDING.iter().any(|name| request.headers().contains_key(*name));
    if !peer.ip().to_canonical().is_loopback() || forwarded {
        return text(StatusCode::NOT_FOUND, "not found\n");
    }
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/_traffik/health") => text(StatusCode::OK, "ready\n"),
        (&Method::GET | &Method::HEAD, "/_traffik/denied") => {
            let line = |it: Denied| format!("{}\t{}\n", it.denials, it.name);
            text(StatusCode::OK, (limited.denied)().into_iter().map(line).collect::<String>())
        }
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

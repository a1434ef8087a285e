//! The connections of a listener.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch::Sender;
use traffik::runtime::{Runtime, Tokio};

use crate::gateway::Gateway;
use crate::observe::counters::OpenConnection;
use crate::server::route::{Door, route};

/// Longest time that a client may take to send the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts connections and serves each in a task, for ever. `end` signals the connections to end.
pub(super) async fn accept(listener: &TcpListener, door: Door, gateway: &Arc<Gateway>, end: &Sender<bool>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    server.http2().timer(TokioTimer::new());
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Most likely the process is out of file descriptors; connections that end free some.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // An error means that the client is gone already; reading will fail then.
        let _ = stream.set_nodelay(true);
        let (gateway, mut end) = (Arc::clone(gateway), end.subscribe());
        let open = OpenConnection::new();
        let service = service_fn(move |request| route(request, peer, door, Arc::clone(&gateway)));
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        Tokio.spawn(async move {
            let _open = open;
            let mut connection = pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => {
                    // An error of one connection concerns its client only, who sees it.
                    if let Err(error) = ended {
                        tracing::debug!(%peer, "a connection failed: {error}");
                    }
                    return;
                }
                _ = end.wait_for(|ends| *ends) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
}

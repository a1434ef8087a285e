//! One connection, from its first byte to its end.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsAcceptor;
use traffik::runtime::{Runtime, Tokio};
use traffik::web::ResponseBody;

use crate::gateway::Gateway;
use crate::listener::activity::{Activity, ClientDeadlines, DeadlineVerdict};
use crate::listener::body::NotedBody;
use crate::listener::places::Place;
use crate::listener::route::{Door, route};
use crate::listener::stream::NotedStream;
use crate::observe::counters::{self, COUNTERS, OpenConnection};
use crate::proxy::received::Received;
use crate::response::Body;

/// Longest time that a connection then takes to end that was asked to.
const GRACE: Duration = Duration::from_millis(100);

/// Most bytes of the head of a request.
const LARGEST_HEAD: u32 = 64 * 1024;

/// Most requests at once on a connection of HTTP/2.
const STREAMS: u32 = 250;

/// The same for the rate limit service: Envoy sends all calls of a worker on one.
const CALLS: u32 = 4_096;

/// Interval of pings on a connection of HTTP/2, and the time to answer one.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// The HTTP settings of a listener.
#[derive(Clone)]
pub(crate) struct HttpServer {
    builder: Arc<auto::Builder<TokioExecutor>>,
    deadlines: ClientDeadlines,
}

impl HttpServer {
    pub(crate) fn new(door: &Door, deadlines: ClientDeadlines) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // The connection has a deadline for each head, which a timer of its own would only repeat.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None);
        builder.http1().max_buf_size(LARGEST_HEAD as usize);
        let streams = if matches!(door, Door::RateLimits(_)) { CALLS } else { STREAMS };
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(streams);
        builder.http2().max_header_list_size(LARGEST_HEAD);
        builder.http2().keep_alive_interval(KEEP_ALIVE.0).keep_alive_timeout(KEEP_ALIVE.1);
        if matches!(door, Door::RateLimits(_)) {
            builder = builder.http2_only();
        }
        Self { builder: Arc::new(builder), deadlines }
    }
}

/// A connection that has a place.
pub(crate) struct ClientConnection {
    pub(crate) peer: SocketAddr,
    /// The address that the client has connected to.
    pub(crate) local: Option<IpAddr>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) door: Door,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) received: Received,
}

impl ClientConnection {
    /// Serves the connection until it ends.
    ///
    /// Waits as long as the client has deadlines for, and for requests under way. A dropped future cuts off
    /// the connection.
    pub(crate) async fn serve(
        self,
        server: HttpServer,
        stream: TcpStream,
        acceptor: Option<TlsAcceptor>,
        place: Place,
        end: Receiver<bool>,
    ) {
        let _open = OpenConnection::new();
        let Some(acceptor) = acceptor else {
            return self.exchange(server, stream, place, end).await;
        };
        let accepted = Tokio.timeout(server.deadlines.head, acceptor.accept(stream));
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = self.activity.evicted.notified() => return counters::count(&COUNTERS.connections_evicted),
        };
        match accepted {
            // Boxed, since each connection without TLS would take its memory, too.
            Ok(Ok(stream)) => Box::pin(self.exchange(server, stream, place, end)).await,
            Ok(Err(error)) => {
                counters::count(&COUNTERS.connections_without_tls);
                tracing::debug!(peer = %self.peer, "a handshake of TLS failed: {error}");
            }
            Err(_) => counters::count(&COUNTERS.connections_late),
        }
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        server: HttpServer,
        stream: S,
        place: Place,
        mut end: Receiver<bool>,
    ) {
        let this = Arc::new(self);
        let (peer, activity) = (this.peer, &this.activity);
        let stream = TokioIo::new(NotedStream::new(stream, Arc::clone(activity), place));
        let asked = Arc::clone(&this);
        let service = service_fn(move |request| answer(Arc::clone(&asked), request));
        let connection = server.builder.serve_connection_with_upgrades(stream, service);
        let (mut connection, deadlines) = (pin!(connection), &server.deadlines);
        let mut timer = pin!(sleep_until(Instant::now() + deadlines.shortest()));
        let (mut is_draining, mut is_ending) = (false, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    // An error of one connection concerns its client only, who sees it.
                    if let Err(error) = ended {
                        tracing::debug!(%peer, "a connection failed: {error}");
                    }
                    return;
                }
                _ = end.wait_for(|ends| *ends), if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = activity.evicted.notified() => {
                    counters::count(&COUNTERS.connections_evicted);
                    if !activity.has_asked() {
                        return;
                    }
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                    timer.as_mut().reset(Instant::now() + GRACE);
                }
                () = timer.as_mut() => {
                    let verdict = activity.verdict(Instant::now(), deadlines);
                    let counter = match verdict {
                        DeadlineVerdict::Stalled => &COUNTERS.connections_stalled,
                        // A request may have come while the connection was asked to end; it is answered.
                        _ if is_ending && activity.is_idle() => return,
                        _ if is_ending => {
                            timer.as_mut().reset(Instant::now() + GRACE);
                            continue;
                        }
                        DeadlineVerdict::Wait(until) => {
                            timer.as_mut().reset(until);
                            continue;
                        }
                        DeadlineVerdict::LateHead => &COUNTERS.connections_late,
                        DeadlineVerdict::Idle => &COUNTERS.connections_idle,
                    };
                    counters::count(counter);
                    tracing::debug!(%peer, "a connection is ended: {verdict:?}");
                    match verdict {
                        DeadlineVerdict::Stalled => return,
                        DeadlineVerdict::LateHead => activity.end_late(),
                        _ => connection.as_mut().graceful_shutdown(),
                    }
                    is_ending = true;
                    timer.as_mut().reset(Instant::now() + GRACE);
                }
            }
        }
    }
}

async fn answer(
    connection: Arc<ClientConnection>,
    mut request: Request<Incoming>,
) -> Result<Response<NotedBody<ResponseBody<Body>>>, Infallible> {
    let mut exchange = connection.activity.begin();
    request.extensions_mut().insert(connection.received);
    let ClientConnection { peer, local, door, gateway, .. } = &*connection;
    let response = route(request, *peer, *local, door, gateway).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        exchange.never_ends();
    }
    Ok(response.map(|body| NotedBody::new(body, exchange)))
}

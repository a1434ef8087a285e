//! Throughput over real sockets, in pairs that take turns: only the ratios travel.
//!
//! Throughput by the clock is judged. Beside it stands the throughput by second that the server's only thread
//! is at work, which does not depend on how fast the client is.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tower::Layer;
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;
use traffik_bench_support::Bound::AtLeast;
use traffik_bench_support::{Pair, Report, Work, best, pairs};
use traffik_core::{Rate, TokenBucket};
use traffik_integrations::{PeerAddress, Throttle, ThrottleLayer, Throttled};

use traffik_bench_http::service::serving;

/// How long each contender runs in a round.
const ROUND: Duration = Duration::from_millis(250);
/// Rounds; in each both of a pair run.
const ROUNDS: usize = 15;
/// How often a pair is measured at most.
const TIMES: usize = 3;
/// Connections of the client.
const CONNECTIONS: usize = 16;

/// Measures the throughput of throttled servers beside that of others.
pub(crate) fn run(report: &mut Report) {
    let admits = |admits: bool| {
        let rate = if admits { Rate::per_second(4_000_000_000) } else { Rate::per_hour(1) };
        Throttle::in_memory("api", TokenBucket::new(rate)).build().expect("a plain name")
    };
    let governor =
        GovernorConfigBuilder::default().per_second(3_600).burst_size(1).finish().expect("a limit");
    let plain = serve(serving::<Incoming>());
    let admitted = serve(Throttled::new(serving::<Incoming>(), admits(true)));
    let denied = serve(Throttled::new(serving::<Incoming>(), admits(false)));
    // A body that tower_governor can answer with.
    let inner = tower::service_fn(async |_: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(axum::body::Body::from("ok\n")))
    });
    let layered = serve(TowerToHyperService::new(ThrottleLayer::new(admits(false)).layer(inner)));
    let governed = serve(TowerToHyperService::new(GovernorLayer::new(governor).layer(inner)));

    report.head(format_args!(
        "requests a second by the clock, and by second of the server's thread at work; {ROUNDS} rounds"
    ));
    for (name, one, other, bound) in [
        ("admitted beside no throttle", &admitted, &plain, Some(AtLeast(0.9))),
        ("denied beside serving", &denied, &plain, Some(AtLeast(0.9))),
        ("denied beside denied by tower_governor", &layered, &governed, Some(AtLeast(1.6))),
        // No throttle in front of this server can be faster than this.
        ("serving, no throttle, beside that", &plain, &governed, None),
    ] {
        let measure = || pairs(ROUNDS, || load(one), || load(other));
        let [by_clock, by_work] = best(TIMES, bound, |[by_clock, _]: &[Pair; 2]| by_clock.ratio, measure);
        report.pair(name, &by_clock, "requests/s", bound);
        report.pair("  by work", &by_work, "requests/s", None);
    }
}

/// A server on a thread of its own.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    /// Where the kernel tells of the thread.
    thread: PathBuf,
}

impl Server {
    /// How long its thread has been on a processor.
    fn worked(&self) -> Duration {
        let told = std::fs::read_to_string(self.thread.join("schedstat")).expect("what the kernel tells");
        Duration::from_nanos(told.split(' ').next().and_then(|time| time.parse().ok()).expect("a time"))
    }
}

/// Serves as long as the process runs.
fn serve<S, B>(service: S) -> Server
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = channel();
    thread::spawn(move || {
        let itself = std::fs::read_link("/proc/thread-self").expect("a thread");
        tell.send(Path::new("/proc").join(itself)).expect("somebody asks");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, peer)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let service = service.clone();
                let service = service_fn(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(PeerAddress::new(peer));
                    request.extensions_mut().insert(ConnectInfo(peer));
                    service.call(request)
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    Server { address, thread: told.recv().expect("a thread") }
}

/// Requests a second over several connections, each of which sends the next request when it has an answer: by
/// the clock, and by second of the server's work.
fn load(server: &Server) -> [f64; 2] {
    let (address, before, requests) = (server.address, server.worked(), Work::begin());
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                let mut buffer = [0; 4096];
                while requests.goes_on() {
                    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a request");
                    // Each answer is short and comes in one piece.
                    assert!(stream.read(&mut buffer).expect("an answer") > 0);
                    requests.count();
                }
            });
        }
        thread::sleep(ROUND);
        requests.stop();
    });
    let worked = server.worked() - before;
    [requests.rate(), requests.done() / worked.as_secs_f64()]
}

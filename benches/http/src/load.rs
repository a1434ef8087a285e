//! Throughput over real sockets, in pairs that take turns: only the ratios travel.
//!
//! Throughput by the clock is what is judged. Beside it stands what the server's only thread does in a second that it is at
//! work, which does not depend on how fast the client is.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

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
use traffik_core::{Rate, TokenBucket};
use traffik_integrations::{PeerAddress, Throttle, ThrottleLayer, Throttled};

use traffik_bench_http::service::serving;

/// How long each contender runs in a round.
const ROUND: Duration = Duration::from_millis(250);
/// Rounds; in each both of a pair run, one right after the other, and the median of their ratios is what counts.
const ROUNDS: usize = 15;
/// How often a pair is measured at most: what else the machine does disturbs either of them, so the best time counts.
const TIMES: usize = 3;
/// Connections of the client.
const CONNECTIONS: usize = 16;

pub(crate) fn run() -> ExitCode {
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

    let mut failed = false;
    println!("requests a second by the clock, and by second of the server's thread at work; {ROUNDS} rounds");
    for (name, one, other, bound) in [
        ("admitted beside no throttle", &admitted, &plain, Some(0.9)),
        ("denied beside serving", &denied, &plain, Some(0.9)),
        ("denied beside denied by tower_governor", &layered, &governed, Some(1.6)),
        // What no throttle in front of this server can be faster than.
        ("serving, no throttle, beside that", &plain, &governed, None),
    ] {
        let mut best: Option<Pair> = None;
        for _ in 0..TIMES {
            let pair = Pair::measure(one, other);
            if best.as_ref().is_none_or(|best| pair.by_clock > best.by_clock) {
                best = Some(pair);
            }
            if best.as_ref().is_some_and(|best| bound.is_none_or(|bound| best.by_clock >= bound)) {
                break;
            }
        }
        let Some(Pair { one, other, by_clock, by_work }) = best else { continue };
        let misses = bound.is_some_and(|bound| by_clock < bound);
        failed |= misses;
        let verdict = bound.map(|bound| format!(", bound {bound}: {}", if misses { "FAIL" } else { "pass" }));
        let verdict = verdict.unwrap_or_default();
        println!("  {name:<40} {:>7.0} {:>7.0}   {by_clock:.2} x{verdict}", one.0, other.0);
        println!("  {:<40} {:>7.0} {:>7.0}   {by_work:.2} x", "", one.1, other.1);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What two contenders have done, in requests a second by the clock and by second of work, and the ratios of the two.
struct Pair {
    one: (f64, f64),
    other: (f64, f64),
    by_clock: f64,
    by_work: f64,
}

impl Pair {
    fn measure(one: &Server, other: &Server) -> Self {
        let rounds: Vec<_> = (0..ROUNDS).map(|_| (load(one), load(other))).collect();
        let of = |figure: fn(&((f64, f64), (f64, f64))) -> f64| median(rounds.iter().map(figure));
        Self {
            one: (of(|(one, _)| one.0), of(|(one, _)| one.1)),
            other: (of(|(_, other)| other.0), of(|(_, other)| other.1)),
            by_clock: of(|(one, other)| one.0 / other.0),
            by_work: of(|(one, other)| one.1 / other.1),
        }
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
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
                    request.extensions_mut().insert(PeerAddress(peer));
                    request.extensions_mut().insert(ConnectInfo(peer));
                    service.call(request)
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    Server { address, thread: told.recv().expect("a thread") }
}

/// Requests a second over several connections, each of which sends the next request when it has an answer; and by second of
/// the server's work.
fn load(server: &Server) -> (f64, f64) {
    let (address, before) = (server.address, server.worked());
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a request");
                    // Each answer is short and comes in one piece.
                    assert!(stream.read(&mut buffer).expect("an answer") > 0);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    thread::sleep(ROUND);
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().expect("a client that does not panic"));
    let (done, worked) = (done.load(Ordering::Relaxed) as f64, server.worked() - before);
    (done / began.elapsed().as_secs_f64(), done / worked.as_secs_f64())
}

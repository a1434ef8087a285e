//! Over real sockets: hyper and axum in front, hyper's client and curl at the other end, HTTP/1.1 and HTTP/2.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::{Buf, Bytes};
use futures_util::stream;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use traffik::web::{
    Header, HeaderFormat, Peer, PeerAddress, RateLimitStatus, Rule, Throttle, ThrottleLayer, ThrottleSet,
    Throttled,
};
use traffik::{Gcra, LeakyBucketQueue, Timer, TokenBucket, rate};

type Http = Client<HttpConnector, Empty<Bytes>>;

/// Serves on a free port as long as the test runs; each request has its peer's address.
pub(crate) async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = service.clone();
            let service = service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddress::new(peer));
                service.call(request)
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

fn client(http2: bool) -> Http {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

async fn ask(client: &Http, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
    let request = Request::get(format!("http://{address}{path}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    client.request(request.body(Empty::new()).unwrap()).await.unwrap()
}

async fn ok(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("ok\n")))
}

/// Concurrent requests on one connection, and on many: exactly the limit is admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_are_admitted_exactly_the_limit() {
    for http2 in [false, true] {
        let throttle =
            Throttle::in_memory("api", TokenBucket::new(rate!("50/w"))).headers(HeaderFormat::Draft10);
        let address = serve(Throttled::new(service_fn(ok), throttle.build().unwrap())).await;
        let client = client(http2);
        let requests: Vec<_> = (0..150)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    let response = ask(&client, address, "/", &[]).await;
                    assert_eq!(response.version(), if http2 { Version::HTTP_2 } else { Version::HTTP_11 });
                    assert!(response.headers().contains_key("ratelimit"));
                    let admitted = response.status() == 200;
                    let body = response.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(admitted, body == "ok\n");
                    admitted
                })
            })
            .collect();
        let mut admitted = 0;
        for request in requests {
            admitted += u32::from(request.await.unwrap());
        }
        assert_eq!(admitted, 50, "http2: {http2}");
    }
}

/// Whatever a service's body is made of reaches the client, counted or not; and so does the throttle's own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_any_data_are_served() {
    const TEXT: &[u8] = b"any data at all";
    async fn served<D: Buf + Send + 'static>(data: fn() -> D) {
        for is_counted in [false, true] {
            let service = service_fn(move |_: Request<Incoming>| async move {
                let frames = [data(), data()].map(|data| Ok::<_, Infallible>(Frame::data(data)));
                Ok::<_, Infallible>(Response::new(StreamBody::new(stream::iter(frames))))
            });
            let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("30/w")));
            let throttle =
                if is_counted { throttle.settle_by(|_, bytes| bytes as u32) } else { throttle }.build();
            let address = serve(Throttled::new(service, throttle.unwrap())).await;
            let client = client(false);
            let answer = ask(&client, address, "/", &[]).await;
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), [TEXT, TEXT].concat());
            let again = ask(&client, address, "/", &[]).await;
            assert_eq!(again.status(), if is_counted { 429 } else { 200 });
            assert!(!again.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
    }
    served(|| Bytes::from_static(TEXT)).await;
    served(|| TEXT).await;
    served(|| TEXT.iter().copied().collect::<VecDeque<u8>>()).await;
    served(|| Buf::chain(&TEXT[..3], &TEXT[3..])).await;
}

/// Keep-alive goes on after a denial, HEAD and OPTIONS count as any other, and curl understands it all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_is_told_when_to_come_back() {
    let throttle =
        Throttle::in_memory("api", TokenBucket::new(rate!("3/w"))).headers(HeaderFormat::XRateLimit);
    let address = serve(Throttled::new(service_fn(ok), throttle.build().unwrap())).await;
    let curl = |arguments: Vec<String>| {
        tokio::task::spawn_blocking(move || {
            let output =
                Command::new("curl").args(["-s", "-S", "--max-time", "20"]).args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
    };
    let url = format!("http://{address}/?query=1");
    let write = "%{http_code} %{num_connects} ".to_owned();
    // One connection for all of them; a denied one does not end it.
    let mut arguments = vec!["-o".into(), "/dev/null".into(), "-w".into(), write];
    for _ in 0..5 {
        arguments.extend([url.clone(), "-o".into(), "/dev/null".into()]);
    }
    assert_eq!(curl(arguments).await.unwrap(), "200 1 200 0 200 0 429 0 429 0 ");
    let told = curl(vec!["-I".into(), "--http2-prior-knowledge".into(), url.clone()]).await.unwrap();
    assert!(told.starts_with("HTTP/2 429") && told.contains("retry-after: 201600"), "{told}");
    let told = curl(vec!["-i".into(), "-X".into(), "OPTIONS".into(), url]).await.unwrap();
    assert!(told.contains("429 Too Many Requests") && told.contains("x-ratelimit-remaining: 0"), "{told}");
    assert!(told.contains("\"violated-policies\":[\"api\"]"), "{told}");
}

/// axum: a global layer, a layer on one route, both as one limit, and an extractor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_is_limited_globally_and_by_route() {
    let global = Throttle::in_memory("global", TokenBucket::new(rate!("5/w"))).expose().build().unwrap();
    let logins = Throttle::in_memory("login", Gcra::new(rate!("1/w"))).build().unwrap();
    let standing = async |standing: RateLimitStatus| {
        let (name, decision) = standing.policies().next().map(|(name, it)| (name.to_owned(), *it)).unwrap();
        format!("{name}: {} left", decision.remaining())
    };
    let unexposed = async |standing: Option<RateLimitStatus>| format!("{}", standing.is_some());
    let app = Router::new()
        .route("/login", post(async || "welcome").layer(ThrottleLayer::new(logins)))
        .route("/", get(standing))
        .layer(ThrottleLayer::new(global))
        .route("/free", get(unexposed))
        .route("/strict", get(async |_: RateLimitStatus| "never"));
    let address = serve(TowerToHyperService::new(app)).await;
    let client = client(true);
    let body = async |response: Response<Incoming>| {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.into()).unwrap()
    };
    let login = async || {
        let request = Request::post(format!("http://{address}/login")).body(Empty::new()).unwrap();
        client.request(request).await.unwrap().status().as_u16()
    };
    assert_eq!(body(ask(&client, address, "/", &[]).await).await, "global: 4 left");
    assert_eq!([login().await, login().await], [200, 429]);
    assert_eq!(body(ask(&client, address, "/", &[]).await).await, "global: 1 left");
    assert_eq!(body(ask(&client, address, "/free", &[]).await).await, "false");
    let strict = ask(&client, address, "/strict", &[]).await;
    assert_eq!(strict.status(), 500);
    assert!(body(strict).await.contains("build one with expose()"));
    assert_eq!(ask(&client, address, "/", &[]).await.status(), 200);
    assert_eq!(ask(&client, address, "/", &[]).await.status(), 429);
}

/// axum notes the peer's address by itself: three lines limit by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axum_is_limited_by_peer_address() {
    let throttle = Throttle::in_memory("api", Gcra::new(rate!("1/w"))).build().unwrap();
    let app = Router::new().route("/", get(async || "ok\n")).layer(ThrottleLayer::new(throttle));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    for (source, expected) in [(1, 200), (2, 200), (1, 429), (2, 429), (3, 200)] {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some([127, 0, 0, source].into()));
        let client = Client::builder(TokioExecutor::new()).build(connector);
        assert_eq!(ask(&client, address, "/", &[]).await.status(), expected, "from 127.0.0.{source}");
    }
}

/// Layers that stand behind one another charge the first before the second denies; as one limit they do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn per_address_and_per_user_are_one_limit() {
    let by_address =
        Throttle::in_memory("address", TokenBucket::new(rate!("10/w"))).identifier(Peer::default());
    let by_user = Throttle::in_memory("user", TokenBucket::new(rate!("2/w")))
        .identifier(Header::new("x-user".parse().unwrap()))
        .apply_to(Rule::new().when(|request| request.headers.contains_key("x-user")));
    let by_address = by_address.build().unwrap();
    let both = ThrottleSet::new().and(by_address.clone()).and(by_user.build().unwrap());
    let address = serve(Throttled::new(service_fn(ok), both)).await;
    let client = client(false);
    let status = async |headers: &[(&str, &str)]| ask(&client, address, "/", headers).await.status().as_u16();
    for expected in [200, 200, 429, 429, 429] {
        assert_eq!(status(&[("x-user", "ann")]).await, expected);
    }
    for _ in 0..8 {
        assert_eq!(status(&[]).await, 200);
    }
    assert_eq!(status(&[("x-user", "bob")]).await, 429);
}

/// A runtime on which a wait takes for ever, and that tells of each: when it begins, and as long as it lasts.
pub(crate) struct Endless {
    pub(crate) begun: mpsc::UnboundedSender<Duration>,
    pub(crate) waiting: Arc<()>,
}

impl Timer for Endless {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        let waiting = Arc::clone(&self.waiting);
        self.begun.send(wait).unwrap();
        async move {
            std::future::pending::<()>().await;
            drop(waiting);
        }
    }
}

/// A request that waits for its turn is given up when its client goes: the wait ends, and no service hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_ends_with_its_client() {
    for http2 in [false, true] {
        let (begun, mut begins) = mpsc::unbounded_channel();
        let waiting = Arc::new(());
        let runtime = Endless { begun, waiting: Arc::clone(&waiting) };
        let queue = LeakyBucketQueue::new(rate!("1/h")).queue(5).unwrap();
        let throttle = Throttle::in_memory("queue", queue).runtime(runtime);
        let served = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&served);
        let service = service_fn(move |request| {
            counted.fetch_add(1, Ordering::Relaxed);
            ok(request)
        });
        let address = serve(Throttled::new(service, throttle.build().unwrap())).await;
        let client = client(http2);
        assert_eq!(ask(&client, address, "/", &[]).await.status(), 200);
        let waits = || Arc::strong_count(&waiting) - 2; // the test's own, and the throttle's
        assert_eq!(waits(), 0);
        let late = tokio::spawn(async move { ask(&client, address, "/", &[]).await.status() });
        let wait = begins.recv().await.unwrap();
        assert!(wait > Duration::from_secs(3_500), "{wait:?}");
        assert_eq!(waits(), 1);
        late.abort();
        let given_up = async {
            while waits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), given_up).await.expect("the wait ends");
        assert_eq!(served.load(Ordering::Relaxed), 1, "http2: {http2}");
    }
}

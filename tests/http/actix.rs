//! actix-web's own server over real sockets: apps, scopes and resources behind throttles, on two workers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::body::{BodyStream, MessageBody, SizedStream};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, HttpMessage, HttpRequest, HttpResponse, HttpServer, error, web};
use bytes::Bytes;
use futures_util::stream;
use http::{Extensions, HeaderValue, StatusCode};
use reqwest::{Client, Response};
use tokio::sync::mpsc;
use traffik::runtime::Tokio;
use traffik::storage::BackendError;
use traffik::web::{
    ClientAddress, CompositeKey, ForwardedHeader, FromExtension, HeaderFormat, Networks, OnError, Peer,
    PeerAddress, RateLimitStatus, Route, Rule, Throttle, ThrottleLayer, ThrottleSet,
};
use traffik::{ErrorKind, Gcra, LeakyBucketQueue, TokenBucket, rate};

use crate::sockets::Endless;
use crate::{Broken, elsewhere, memory};

/// Serves an app on a free port as long as the test runs.
macro_rules! serve {
    ($app:expr) => {{
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, app) = (listener.local_addr().unwrap(), $app);
        std::thread::spawn(move || {
            let server = HttpServer::new(app).workers(2).disable_signals().h1_allow_half_closed(false);
            actix_web::rt::System::new().block_on(server.listen(listener).unwrap().run()).unwrap();
        });
        address
    }};
}

/// Serves an app behind this throttle.
macro_rules! limited {
    ($throttle:ident) => {
        serve!(move || App::new().wrap(ThrottleLayer::new($throttle.clone())).default_service(web::to(hello)))
    };
}

/// A client at one of the addresses of this machine.
fn client(source: u8) -> Client {
    Client::builder().local_address(std::net::IpAddr::from([127, 0, 0, source])).build().unwrap()
}

async fn ask(client: &Client, address: SocketAddr, path: &str) -> Response {
    client.get(format!("http://{address}{path}")).send().await.unwrap()
}

async fn statuses<const N: usize>(client: &Client, address: SocketAddr, path: &str) -> [u16; N] {
    let mut statuses = [0; N];
    for status in &mut statuses {
        let response = ask(client, address, path).await;
        *status = response.status().as_u16();
        // The connection serves the next one once this is over.
        response.bytes().await.unwrap();
    }
    statuses
}

fn told<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn hello(body: String) -> HttpResponse {
    HttpResponse::Created().insert_header(("x-inner", "yes")).body(format!("hello{body}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_limited_by_peer_address() {
    let served = Arc::new(AtomicUsize::new(0));
    let (throttle, counted) =
        (Throttle::in_memory("api", TokenBucket::new(rate!("2/w"))), Arc::clone(&served));
    let throttle = throttle.headers(HeaderFormat::Draft10).build().unwrap();
    let address = serve!(move || {
        let counted = Arc::clone(&counted);
        let index = move |body| {
            counted.fetch_add(1, Ordering::Relaxed);
            hello(body)
        };
        App::new().wrap(ThrottleLayer::new(throttle.clone())).default_service(web::to(index))
    });
    let one = client(1);
    let admitted = one.post(format!("http://{address}/a?b=c")).body(", world").send().await.unwrap();
    assert_eq!((admitted.status(), told(&admitted, "x-inner")), (StatusCode::CREATED, "yes"));
    assert_eq!(told(&admitted, "ratelimit-policy"), r#""api";q=2;w=604800"#);
    assert_eq!(told(&admitted, "ratelimit"), r#""api";r=1;t=302400"#);
    assert_eq!(told(&admitted, "content-length"), "12");
    assert_eq!(admitted.text().await.unwrap(), "hello, world");
    assert_eq!(statuses(&one, address, "/").await, [201, 429]);
    let denied = ask(&one, address, "/").await;
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!((302_000..=302_400).contains(&told(&denied, "retry-after").parse::<u32>().unwrap()));
    assert_eq!(told(&denied, "content-type"), "application/problem+json");
    assert!(denied.text().await.unwrap().contains(r#""violated-policies":["api"]"#));
    // The answer to HEAD has the length of the body, and no body.
    let head = one.head(format!("http://{address}/")).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(told(&head, "content-length").parse::<usize>().unwrap() > 100);
    assert_eq!(statuses(&one, address, "/").await, [429], "the connection goes on");
    assert_eq!(statuses(&client(2), address, "/").await, [201, 201, 429]);
    assert_eq!(served.load(Ordering::Relaxed), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_share_a_budget_and_admit_exactly_the_limit() {
    let here = Throttle::in_memory("api", TokenBucket::new(rate!("50/w"))).build().unwrap();
    let there = elsewhere(memory(&Arc::default()));
    let there = Throttle::builder("api", TokenBucket::new(rate!("50/w")), there).build().unwrap();
    let both = ThrottleSet::new().and(here.clone()).and(there.clone());
    let here = limited!(here);
    let there = limited!(there);
    for address in [here, there] {
        // Each on a connection of its own.
        let asked =
            (0..150).map(|_| tokio::spawn(async move { ask(&client(1), address, "/").await.status() }));
        let mut admitted = 0;
        for asked in asked.collect::<Vec<_>>() {
            admitted += usize::from(asked.await.unwrap() == StatusCode::CREATED);
        }
        assert_eq!(admitted, 50);
    }
    let both = limited!(both);
    assert_eq!(statuses(&client(1), both, "/").await, [429]);
    assert_eq!(statuses(&client(2), both, "/").await, [201]);
}

/// Each by the whole path, whatever part of it is left for the scope.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_and_resources_are_limited_beside_the_app() {
    let by_route = CompositeKey::new().and(Peer::default()).and(Route::new(["/api/users/{id}"]).unwrap());
    let throttle =
        |uid, limit| Throttle::in_memory(uid, TokenBucket::new(limit)).headers(HeaderFormat::Draft10);
    let all = throttle("all", rate!("8/w")).build().unwrap();
    let scope = throttle("scope", rate!("3/w")).apply_to(Rule::new().prefix("/api"));
    let scope = scope.identifier(by_route).build().unwrap();
    let dear = throttle("dear", rate!("1/w")).build().unwrap();
    let address = serve!(move || {
        let dear = web::resource("/dear").wrap(ThrottleLayer::new(dear.clone())).to(hello);
        let scope = web::scope("/api").wrap(ThrottleLayer::new(scope.clone()));
        let scope = scope.service(web::resource("/users/{id}").to(hello)).service(dear);
        App::new().wrap(ThrottleLayer::new(all.clone())).service(scope).default_service(web::to(hello))
    });
    let client = client(1);
    let first = ask(&client, address, "/api/users/1").await;
    let told = told(&first, "ratelimit").split(';').take(2).collect::<Vec<_>>();
    assert_eq!(told, [r#""scope""#, "r=2"], "the tightest first, of both: {first:?}");
    assert!(first.headers()["ratelimit"].to_str().unwrap().contains(r#""all";r=7"#));
    assert_eq!(statuses(&client, address, "/api/users/2").await, [201, 201, 429]);
    assert_eq!(statuses(&client, address, "/api/dear").await, [201, 429]);
    assert_eq!(statuses(&client, address, "/").await, [201, 201, 429]);
}

/// Notes who has logged in, where throttles look.
async fn who<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let user = request.headers().get("x-user").map(|user| User(user.to_str().unwrap().to_owned()));
    if let Some(user) = user {
        request.extensions_mut().get_or_insert_with(Extensions::new).insert(user);
    }
    next.call(request).await
}

#[derive(Clone)]
struct User(String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_see_where_the_client_stands_and_throttles_who_it_is() {
    let by_user = FromExtension::new(|user: &User| user.0.clone());
    let users = Throttle::in_memory("users", TokenBucket::new(rate!("5/w"))).identifier(by_user).expose();
    let users = users.build().unwrap();
    let inner = Throttle::in_memory("inner", TokenBucket::new(rate!("9/w"))).expose().build().unwrap();
    let left = |standing: &RateLimitStatus| standing.policies().next().unwrap().1.remaining();
    let extracted = move |standing: Option<RateLimitStatus>| {
        let standing = standing.map(|it| format!("{} {}", it.throttle(), left(&it)));
        async { standing.unwrap_or_default() }
    };
    let strict = |_: RateLimitStatus| async { "never" };
    let noted = move |request: HttpRequest| {
        let extensions = request.extensions();
        let noted = extensions.get::<Extensions>().unwrap();
        let (users, inner) =
            (RateLimitStatus::of(noted, "users").unwrap(), RateLimitStatus::of(noted, "inner").unwrap());
        let (peer, User(user)) = (PeerAddress::of(noted).unwrap().address().ip(), noted.get().unwrap());
        let told = format!("{user} at {peer}: {} {}", left(&users), left(&inner));
        async { told }
    };
    let address = serve!(move || {
        let limited = web::resource("/noted").wrap(ThrottleLayer::new(inner.clone())).to(noted);
        let limited =
            web::scope("/users").wrap(ThrottleLayer::new(users.clone())).wrap(from_fn(who)).service(limited);
        let limited = limited.route("", web::get().to(extracted));
        App::new()
            .service(limited)
            .route("/", web::get().to(extracted))
            .route("/strict", web::get().to(strict))
    });
    let client = client(3);
    let ask_as = async |user: &str, path: &str| {
        let request = client.get(format!("http://{address}{path}")).header("x-user", user);
        request.send().await.unwrap().text().await.unwrap()
    };
    assert_eq!(ask_as("ann", "/users").await, "users 4");
    assert_eq!(ask_as("bob", "/users").await, "users 4");
    assert_eq!(ask_as("ann", "/users/noted").await, "ann at 127.0.0.3: 3 8");
    assert_eq!(ask_as("ann", "/").await, "");
    let strict = ask(&client, address, "/strict").await;
    assert_eq!(strict.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(strict.text().await.unwrap().contains("build one with expose()"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_behind_a_proxy_is_known_by_the_header_of_the_proxy() {
    let behind = ClientAddress::new(Networks::parse(["127.0.0.1"]).unwrap(), ForwardedHeader::XForwardedFor);
    let throttle = Throttle::in_memory("api", Gcra::new(rate!("1/w"))).identifier(behind).build().unwrap();
    let address = limited!(throttle);
    for (source, header, expected) in [
        (1, &["192.0.2.1"][..], 201),
        (1, &["6.6.6.6, 192.0.2.1"], 429),
        (1, &["6.6.6.6", "192.0.2.1"], 429), // two lines are one list
        (1, &["192.0.2.2"], 201),
        (2, &["192.0.2.3"], 201), // no proxy of ours
        (2, &["192.0.2.4"], 429),
    ] {
        let request = client(source).get(format!("http://{address}/"));
        let request = header.iter().fold(request, |request, line| request.header("x-forwarded-for", *line));
        assert_eq!(request.send().await.unwrap().status(), expected, "{source} {header:?}");
    }
}

/// By its status, also where a middleware failed, whose error passes untouched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_count_is_given_back() {
    async fn guarded<B: MessageBody>(
        request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<B>, Error> {
        match request.path() {
            "/wrong" => Err(error::ErrorUnauthorized("wrong")),
            "/broken" => Err(error::ErrorInternalServerError("broken")),
            _ => next.call(request).await,
        }
    }
    let counted = |uid| {
        let throttle =
            Throttle::in_memory(uid, TokenBucket::new(rate!("2/w"))).headers(HeaderFormat::Draft10);
        throttle.charge_if(|response| response.status == StatusCode::UNAUTHORIZED).build().unwrap()
    };
    let (returned, failing) = (counted("returned"), counted("failing"));
    let returned = serve!(move || {
        let wrong = async || HttpResponse::Unauthorized().body("wrong");
        let app = App::new().wrap(ThrottleLayer::new(returned.clone()));
        app.route("/wrong", web::get().to(wrong)).default_service(web::to(hello))
    });
    let failing = serve!(move || {
        let app = App::new().wrap(from_fn(guarded)).wrap(ThrottleLayer::new(failing.clone()));
        app.default_service(web::to(hello))
    });
    let client = client(1);
    for address in [returned, failing] {
        assert_eq!(statuses(&client, address, "/").await, [201; 4]);
        assert_eq!(statuses(&client, address, "/wrong").await, [401]);
        assert_eq!(statuses(&client, address, "/").await, [201]);
        assert_eq!(statuses(&client, address, "/wrong").await, [401, 429]);
        assert_eq!(statuses(&client, address, "/").await, [429]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_streamed_is_counted_and_reaches_the_client_whole() {
    const TEXT: &[u8] = b"a part of it, ";
    let parts = || stream::iter([TEXT; 3].map(|part| Ok::<_, Error>(Bytes::from_static(part))));
    let chunked = move || async move { HttpResponse::Ok().body(BodyStream::new(parts())) };
    let sized =
        move || async move { HttpResponse::Ok().body(SizedStream::new(3 * TEXT.len() as u64, parts())) };
    let empty = async || HttpResponse::NoContent().finish();
    let bytes = Throttle::in_memory("bytes", TokenBucket::new(rate!("100/w"))).cost(20);
    let bytes = bytes.settle_by(|_, bytes| bytes as u32).build().unwrap();
    let left = bytes.clone();
    let address = serve!(move || {
        let app = App::new().wrap(ThrottleLayer::new(bytes.clone())).route("/empty", web::get().to(empty));
        app.route("/chunked", web::get().to(chunked)).route("/sized", web::get().to(sized))
    });
    let client = client(1);
    let left = async || {
        let mut request = http::Request::new(());
        request.extensions_mut().insert(PeerAddress::new(([127, 0, 0, 1], 1).into()));
        left.client(&request).await.unwrap().unwrap().stat().await.unwrap().tokens
    };
    for (path, expected) in [("/chunked", 58), ("/empty", 58), ("/sized", 16)] {
        let response = ask(&client, address, path).await;
        let body = response.bytes().await.unwrap();
        assert!(body == [TEXT; 3].concat() || path == "/empty", "{path}");
        // The next one on this connection is served once this one is settled.
        assert_eq!(statuses(&client, address, "/none").await, [if expected > 20 { 404 } else { 429 }]);
        assert_eq!(left().await, expected, "{path}");
    }
}

/// Stands outside of a throttle, and sees the failure that it raises.
async fn outside<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let response = next.call(request).await?;
    let failure =
        response.response().extensions().get::<Extensions>().and_then(|it| it.get().map(BackendError::kind));
    assert_eq!(failure, (response.status() == 500).then_some(ErrorKind::Unavailable));
    Ok(response)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_that_fails_is_met_as_one_chooses() {
    for (on_error, expected) in [(OnError::Throttle, 503), (OnError::Allow, 201), (OnError::Raise, 500)] {
        let broken = Throttle::builder("api", Gcra::new(rate!("1/w")), Broken(ErrorKind::Unavailable));
        let broken = broken.on_error(on_error).build().unwrap();
        let address = serve!(move || {
            let app = App::new().wrap(ThrottleLayer::new(broken.clone())).wrap(from_fn(outside));
            app.default_service(web::to(hello))
        });
        assert_eq!(statuses(&client(1), address, "/").await, [expected; 3]);
    }
}

/// The throttle outside gives back what it charged, or the second request would be denied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_was_raised_is_seen_by_the_throttle_outside() {
    let broken = Throttle::builder("inner", Gcra::new(rate!("1/w")), Broken(ErrorKind::Unavailable));
    let inner = broken.on_error(OnError::Raise).build().unwrap();
    let outer = Throttle::in_memory("outer", Gcra::new(rate!("1/w")));
    let outer = outer.charge_if(|head| head.extensions.get::<BackendError>().is_none()).build().unwrap();
    let address = serve!(move || {
        let app = App::new().wrap(ThrottleLayer::new(inner.clone())).wrap(ThrottleLayer::new(outer.clone()));
        app.default_service(web::to(hello))
    });
    assert_eq!(statuses(&client(1), address, "/").await, [500; 3]);
}

/// On tokio, which is what actix runs on; nothing has to be sent to another thread for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_waits_for_its_turn() {
    let queue = LeakyBucketQueue::new(rate!("1000/s")).queue(100).unwrap();
    let throttle = Throttle::in_memory("queue", queue).runtime(Tokio).build().unwrap();
    let address = limited!(throttle);
    let client = client(1);
    let asked = (0..20).map(|_| statuses(&client, address, "/"));
    assert_eq!(futures_util::future::join_all(asked).await, [[201]; 20]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_ends_with_its_client() {
    let (begun, mut begins) = mpsc::unbounded_channel();
    let waiting = Arc::new(());
    let runtime = Endless { begun, waiting: Arc::clone(&waiting) };
    let queue = LeakyBucketQueue::new(rate!("1/h")).queue(1).unwrap();
    let throttle = Throttle::in_memory("queue", queue).runtime(runtime).build().unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&served);
    let address = serve!(move || {
        let counted = Arc::clone(&counted);
        let index = move |body| {
            counted.fetch_add(1, Ordering::Relaxed);
            hello(body)
        };
        App::new().wrap(ThrottleLayer::new(throttle.clone())).default_service(web::to(index))
    });
    assert_eq!(statuses(&client(1), address, "/").await, [201]);
    let waits = || Arc::strong_count(&waiting) - 2; // the test's own, and the throttle's
    for _ in 0..2 {
        let mut late = TcpStream::connect(address).unwrap();
        late.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let wait = begins.recv().await.unwrap();
        assert!(wait > Duration::from_secs(3_500), "{wait:?}");
        assert_eq!(waits(), 1);
        drop(late);
        let given_up = async {
            while waits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        // There is room in the queue for the next one, as the place was given back.
        tokio::time::timeout(Duration::from_secs(20), given_up).await.expect("the wait ends");
    }
    assert_eq!(served.load(Ordering::Relaxed), 1);
}

/// Targets and headers of every form that actix takes are seen as they were sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_every_form_are_seen_by_functions_of_the_request() {
    let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/w"))).cost_by(|request| {
        let lines: Vec<_> = request.headers.get_all("x-line").iter().map(HeaderValue::as_bytes).collect();
        let expected: [&[u8]; 3] = [b"one", b"\xe9\xff", b""];
        assert_eq!(lines, expected);
        match (request.method.as_str(), request.uri.to_string().as_str()) {
            ("BREW", "/caf%C3%A9?a=%20&b") => 1,
            ("OPTIONS", "*") => 2,
            ("GET", "http://b.example/c?d") => 3,
            _ => 50,
        }
    });
    let throttle = throttle.headers(HeaderFormat::XRateLimit).build().unwrap();
    let address = limited!(throttle);
    for (target, left) in
        [("BREW /caf%C3%A9?a=%20&b", "99"), ("OPTIONS *", "97"), ("GET http://b.example/c?d", "94")]
    {
        let mut stream = TcpStream::connect(address).unwrap();
        let lines: &[u8] =
            b" HTTP/1.1\r\nhost: a\r\nX-Line: one\r\nx-line: \xe9\xff\r\nx-line:\r\nconnection: close\r\n\r\n";
        stream.write_all(&[target.as_bytes(), lines].concat()).unwrap();
        let answer = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        let answer = answer.await.unwrap().unwrap();
        assert!(answer.contains(&format!("x-ratelimit-remaining: {left}\r\n")), "{target}: {answer}");
    }
}

//! The middleware in front of tower and hyper services: what passes is untouched, what does not is answered.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use traffik::storage::{AsyncStorage, BackendError, Local, Reply, WhenFull};
use traffik::web::{Header, HeaderFormat, Identity, RequestParts, Throttle, ThrottleLayer, Throttled};
use traffik::{
    All, Class, Decision, ErasedKey, ErrorKind, FixedWindow, Gcra, Hit, Memory, Op, Rate, Strategy,
    Timestamp, TokenBucket,
};

use crate::{Clock, header, hello, memory, request};

#[tokio::test]
async fn what_passes_is_untouched() {
    let throttle =
        Throttle::builder("api", Gcra::new(Rate::per_second(1)), memory(&Clock::default())).build().unwrap();
    let response = ThrottleLayer::new(throttle).layer(service_fn(hello)).oneshot(request(1)).await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "x-inner")), (201, "yes"));
    assert_eq!(response.headers().len(), 1, "nothing is told unless asked for");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}

/// Retry-After is rounded up to whole seconds, and the exact wait is in the body.
#[tokio::test]
async fn a_client_that_obeys_is_admitted() {
    let clock = Clock::default();
    let limit = TokenBucket::new("1/1500ms".parse().unwrap());
    let throttle = Throttle::builder("api", limit, memory(&clock)).build().unwrap();
    let mut service = ThrottleLayer::new(throttle).layer(service_fn(hello));
    assert_eq!(service.call(request(1)).await.unwrap().status(), 201);
    let denied = service.call(request(1)).await.unwrap();
    assert_eq!((denied.status().as_u16(), header(&denied, "retry-after")), (429, "2"));
    assert_eq!(header(&denied, "content-type"), "application/problem+json");
    let body = denied.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        body,
        "{\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\"title\":\"Too Many Requests\",\
         \"status\":429,\"detail\":\"over the limit api; try again in 2 s\",\"retry_after_ms\":1500,\"violated-policies\":[\"api\"]}"
    );
    clock.advance(Duration::from_millis(1500));
    assert_eq!(service.call(request(1)).await.unwrap().status(), 201);
}

#[tokio::test]
async fn what_can_never_pass_is_not_told_to_wait() {
    let throttle = Throttle::builder("api", Gcra::new(Rate::per_second(1)), memory(&Clock::default()))
        .cost(2)
        .build()
        .unwrap();
    let denied = ThrottleLayer::new(throttle).layer(service_fn(hello)).oneshot(request(1)).await.unwrap();
    assert_eq!((denied.status().as_u16(), header(&denied, "retry-after")), (429, ""));
    let body = denied.into_body().collect().await.unwrap().to_bytes();
    assert!(body.windows(12).any(|part| part == b"\"never\":true"));
}

#[tokio::test]
async fn clients_are_counted_apart_and_the_exempt_not_at_all() {
    let limit = Gcra::new(Rate::per_hour(1));
    let by_key = |request: RequestParts<'_>| match request.headers.get("x-admin") {
        Some(_) => Identity::Exempt,
        None => traffik::web::Identify::identify(&Header::new("x-api-key".parse().unwrap()), request),
    };
    let throttle =
        Throttle::builder("api", limit, memory(&Clock::default())).identifier(by_key).build().unwrap();
    let mut service = ThrottleLayer::new(throttle).layer(service_fn(hello));
    let mut call = async |name: &'static str, value: &'static str| {
        let request = Request::builder().header(name, value).body(String::new()).unwrap();
        service.call(request).await.unwrap().status().as_u16()
    };
    assert_eq!(
        [call("x-api-key", "a").await, call("x-api-key", "b").await, call("x-api-key", "a").await],
        [201, 201, 429]
    );
    assert_eq!(
        [call("x-other", "1").await, call("x-other", "2").await],
        [201, 429],
        "no key: one limit for all"
    );
    assert_eq!([call("x-admin", "1").await, call("x-admin", "1").await], [201, 201]);
}

#[tokio::test]
async fn throttles_on_one_storage_are_kept_apart() {
    let storage = Arc::new(memory(&Clock::default()));
    let throttle =
        |uid| Throttle::builder(uid, Gcra::new(Rate::per_hour(1)), Arc::clone(&storage)).build().unwrap();
    for uid in ["a", "b"] {
        let mut service = ThrottleLayer::new(throttle(uid)).layer(service_fn(hello));
        let statuses = [service.call(request(1)).await, service.call(request(1)).await];
        assert_eq!(statuses.map(|reply| reply.unwrap().status().as_u16()), [201, 429], "{uid}");
    }
}

#[tokio::test]
async fn several_policies_are_told_the_tightest_first() {
    let limits = All([FixedWindow::new(Rate::per_second(2)), FixedWindow::new(Rate::per_hour(3))]);
    let clock = Clock::default();
    let throttle = Throttle::builder("api", limits, memory(&clock))
        .headers(HeaderFormat::Draft10)
        .policies(["burst", "hourly"])
        .build()
        .unwrap();
    let mut service = ThrottleLayer::new(throttle).layer(service_fn(hello));
    let first = service.call(request(1)).await.unwrap();
    assert_eq!(header(&first, "ratelimit-policy"), r#""burst";q=2;w=1, "hourly";q=3;w=3600"#);
    assert_eq!(header(&first, "ratelimit"), r#""burst";r=1;t=1, "hourly";r=2;t=3600"#);
    let _ = service.call(request(1)).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let third = service.call(request(1)).await.unwrap();
    assert_eq!(header(&third, "ratelimit"), r#""hourly";r=0;t=3599, "burst";r=1;t=1"#);
    let denied = service.call(request(1)).await.unwrap();
    assert_eq!((denied.status().as_u16(), header(&denied, "retry-after")), (429, "3599"));
    assert_eq!(
        header(&denied, "ratelimit"),
        r#""hourly";r=0;t=3599, "burst";r=1;t=1"#,
        "the burst was not charged"
    );
}

#[tokio::test]
async fn a_storage_that_fails_lets_nobody_pass_unchecked() {
    let storage = Memory::builder().capacity(1).when_full(WhenFull::Refuse).clock(Clock::default()).build();
    let throttle = Throttle::builder("api", Gcra::new(Rate::per_hour(1)), Local(storage)).build().unwrap();
    let mut service = ThrottleLayer::new(throttle).layer(service_fn(hello));
    let mut unavailable = 0;
    for peer in 0..=255 {
        let response = service.call(request(peer)).await.unwrap();
        if response.status() == 503 {
            assert_eq!(header(&response, "retry-after"), "1");
            unavailable += 1;
        }
    }
    assert_eq!(unavailable, 256 - 16, "one set of sixteen");
}

/// Answers after a while, and denies nothing.
struct Slow;

impl<S: Strategy<Verdict = Decision>> AsyncStorage<S> for Slow {
    fn apply(&self, _: &S, _: &dyn ErasedKey, _: &Op<S>) -> Reply<Decision> {
        Reply::pending(async {
            tokio::task::yield_now().await;
            Ok(Decision::allow(1, 0, Duration::ZERO))
        })
    }

    fn load(&self, _: &S, _: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        Reply::ready(Err(BackendError::new(ErrorKind::Other, "not asked for here")))
    }
}

/// Ready once, when polled; a call that was not announced is a mistake of the caller.
#[derive(Default)]
struct Announced {
    ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Announced {
    fn clone(&self) -> Self {
        Self { ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl Service<Request<String>> for Announced {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        self.calls.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(Response::new(request.into_body())))
    }
}

#[tokio::test]
async fn the_service_that_said_it_is_ready_is_the_one_that_is_called() {
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = Announced { ready: false, calls: Arc::clone(&calls) };
    let remote = Throttle::builder("api", Gcra::new(Rate::per_second(1)), Slow).build().unwrap();
    let mut service = ThrottleLayer::new(remote).layer(inner.clone());
    for _ in 0..3 {
        assert_eq!(service.ready().await.unwrap().call(request(1)).await.unwrap().status(), 200);
    }
    let local =
        Throttle::builder("api", Gcra::new(Rate::per_second(1)), memory(&Clock::default())).build().unwrap();
    let mut service = ThrottleLayer::new(local).layer(inner);
    for status in [200, 429] {
        assert_eq!(service.ready().await.unwrap().call(request(1)).await.unwrap().status(), status);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_dropped_request_is_not_passed_on() {
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = Announced { ready: false, calls: Arc::clone(&calls) };
    let throttle = Throttle::builder("api", Gcra::new(Rate::per_second(1)), Slow).build().unwrap();
    let mut service = ThrottleLayer::new(throttle).layer(inner);
    drop(service.ready().await.unwrap().call(request(1)));
    tokio::task::yield_now().await;
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

/// Delays every hit by two seconds, as a queueing strategy would.
#[derive(Clone)]
struct Late(Gcra);

impl Strategy for Late {
    type State = <Gcra as Strategy>::State;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = ();

    fn decide(&self, state: &mut Self::State, hit: &Hit, now: Timestamp) -> Decision {
        self.0.decide(state, hit, now).delayed(Duration::from_secs(2))
    }

    fn charge(&self, _: &mut Self::State, _: &Hit, _: Timestamp) {}

    fn refund(&self, _: &mut Self::State, _: &Hit, _: traffik::Receipt, _: Timestamp) {}

    fn expires_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.0.expires_at(state, class)
    }

    fn max_ttl(&self) -> u64 {
        self.0.max_ttl()
    }

    fn stat(&self, _: &Self::State, _: Class, _: Timestamp) {}
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_sat_out_where_there_is_a_runtime() {
    let limit = Late(Gcra::new(Rate::per_second(100)));
    let with =
        Throttle::builder("queue", limit.clone(), memory(&Clock::default())).runtime(traffik::runtime::Tokio);
    let began = tokio::time::Instant::now();
    let mut service = ThrottleLayer::new(with.build().unwrap()).layer(service_fn(hello));
    assert_eq!(service.call(request(1)).await.unwrap().status(), 201);
    assert_eq!(began.elapsed(), Duration::from_secs(2));

    let without = Throttle::builder("queue", limit, memory(&Clock::default())).build().unwrap();
    let answer = ThrottleLayer::new(without).layer(service_fn(hello)).oneshot(request(1)).await.unwrap();
    assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (429, "2"));
}

#[tokio::test]
async fn a_hyper_service_is_limited_the_same() {
    let throttle =
        Throttle::builder("api", Gcra::new(Rate::per_second(1)), memory(&Clock::default())).build().unwrap();
    let service = Throttled::new(hyper::service::service_fn(hello), throttle);
    let call = async || hyper::service::Service::call(&service, request(1)).await.unwrap().status().as_u16();
    assert_eq!([call().await, call().await], [201, 429]);
    let remote = Throttle::builder("api", Gcra::new(Rate::per_second(1)), Slow).build().unwrap();
    let service = Throttled::new(hyper::service::service_fn(hello), remote);
    assert_eq!(hyper::service::Service::call(&service, request(1)).await.unwrap().status(), 201);
}

#[test]
fn a_name_that_cannot_be_told_is_refused() {
    let build = |uid: &str| Throttle::builder(uid, Gcra::new(Rate::per_second(1)), Slow).build().map(drop);
    assert!(build("api.v1:read_all-2").is_ok());
    for uid in ["", "two words", "quo\"te", "é", &"x".repeat(65)] {
        let told = build(uid).unwrap_err().to_string();
        assert!(told.contains("use 1 to 64 of the characters"), "{told}");
    }
    let policies = Throttle::builder("api", Gcra::new(Rate::per_second(1)), Slow).policies(["ok", "not ok"]);
    assert!(policies.build().is_err());
}

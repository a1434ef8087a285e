//! The answers to a client: when to come back, what it has left, and the text of one's own handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use traffik::storage::{AsyncStorage, Reply};
use traffik::web::{
    Admission, HeaderFormat, Identity, RequestParts, Rule, Throttle, ThrottleLayer, ThrottleSet,
};
use traffik::{All, ErasedKey, FixedWindow, Gcra, Op, Rate, Strategy, Timestamp, TokenBucket, rate};

use crate::throttle::statuses;
use crate::{Clock, answer, elsewhere, header, hello, memory, request};

/// A denial names at least this wait, and no request is denied for it (a defect of the system this one
/// follows).
#[tokio::test]
async fn the_least_wait_is_told_to_the_denied_and_denies_nobody() {
    let clock = Clock::default();
    let throttle = Throttle::builder("api", TokenBucket::new(rate!("2/s")), memory(&clock))
        .min_wait(Duration::from_secs(30))
        .build()
        .unwrap();
    let mut service = ThrottleLayer::new(throttle.clone()).layer(service_fn(hello));
    for status in [201, 201, 429] {
        let response = service.call(request(1)).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(header(&response, "retry-after"), if status == 429 { "30" } else { "" });
    }
    clock.advance(Duration::from_millis(500));
    assert_eq!(statuses(&throttle, [request(1)]).await, [201], "who comes sooner is let in all the same");
    throttle.set_min_wait(Duration::ZERO);
    let response = service.call(request(1)).await.unwrap();
    assert_eq!(header(&response, "retry-after"), "1");
}

/// Counts how often it is asked.
#[derive(Clone)]
struct Counted<M>(M, Arc<AtomicUsize>);

impl<S: Strategy, M: AsyncStorage<S>> AsyncStorage<S> for Counted<M> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.apply(strategy, key, op)
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.load(strategy, key)
    }
}

/// The figures of an admission or a denial are those of the decision: nothing is asked twice.
#[tokio::test]
async fn headers_take_no_second_call() {
    for dialect in
        [HeaderFormat::Draft10, HeaderFormat::Draft07, HeaderFormat::Draft06, HeaderFormat::XRateLimit]
    {
        let asked = Arc::new(AtomicUsize::new(0));
        let storage = Counted(elsewhere(memory(&Clock::default())), Arc::clone(&asked));
        let limits = All([TokenBucket::new(rate!("1/min")), TokenBucket::new(rate!("5/h"))]);
        let throttle = Throttle::builder("api", limits, storage).headers(dialect).expose().build().unwrap();
        let mut service = ThrottleLayer::new(throttle).layer(service_fn(hello));
        for status in [201, 429] {
            let response = service.call(request(1)).await.unwrap();
            assert_eq!((response.status().as_u16(), asked.swap(0, Ordering::Relaxed)), (status, 1));
            let mut names = response.headers().keys().map(HeaderName::as_str);
            assert!(names.any(|name| name.contains("ratelimit")), "{dialect:?}");
        }
    }
}

#[tokio::test]
async fn denials_are_answered_by_ones_own_handler_and_headers_are_added() {
    let name = HeaderName::from_static;
    let builder = |uid| {
        Throttle::builder(uid, Gcra::new(rate!("1/h")), memory(&Clock::default()))
            .header(name("x-service"), HeaderValue::from_static("orders"))
            .denial_header(name("x-contact"), HeaderValue::from_static("sales"))
    };
    let at_once = builder("api").on_throttled(|denial| {
        assert_eq!((denial.throttle, denial.limits.len()), ("api", 1));
        let mut response = denial.response();
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        let wait = denial.retry_after().unwrap().as_secs();
        *response.body_mut() = format!("come back in {wait} s, {}", denial.request.uri.path()).into();
        response
    });
    let later = builder("later").on_throttled_async(|denial| {
        let mut response = denial.response();
        async move {
            tokio::task::yield_now().await;
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            *response.body_mut() = "come back in 3600 s, /".into();
            response
        }
    });
    for throttle in [at_once.build().unwrap(), later.build().unwrap()] {
        let mut service = ThrottleLayer::new(throttle).layer(service_fn(hello));
        let admitted = service.call(request(1)).await.unwrap();
        assert_eq!((header(&admitted, "x-service"), header(&admitted, "x-contact")), ("orders", ""));
        let denied = service.call(request(1)).await.unwrap();
        assert_eq!((denied.status().as_u16(), header(&denied, "retry-after")), (503, "3600"));
        assert_eq!((header(&denied, "x-service"), header(&denied, "x-contact")), ("orders", "sales"));
        let body = denied.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "come back in 3600 s, /");
    }
}

fn field(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

/// The fields of the answers to so many requests, which have these statuses.
async fn answers<G: Admission>(gate: &G, statuses: &[u16]) -> Vec<HeaderMap> {
    let mut told = Vec::new();
    for status in statuses {
        let response = answer(gate, request(1)).await;
        assert_eq!(response.status(), *status);
        told.push(response.headers().clone());
    }
    told
}

/// The first answers of express-rate-limit 8.6.2 (test/library/headers-test.ts): 5 per minute in each of its
/// forms, and Retry-After. It tells `X-RateLimit-Reset` as a time of the day, which is no time that all
/// clocks agree on; here as there for the others these are seconds. Its partition key `pk` is a hash of the
/// client, which needs no telling where each answer goes to its client alone.
#[tokio::test]
async fn the_first_answers_of_express_rate_limit() {
    for (dialect, fields) in [
        (
            HeaderFormat::XRateLimit,
            &[("x-ratelimit-limit", "5"), ("x-ratelimit-remaining", "4"), ("x-ratelimit-reset", "60")][..],
        ),
        (
            HeaderFormat::Draft06,
            &[("ratelimit-limit", "5"), ("ratelimit-remaining", "4"), ("ratelimit-reset", "60")],
        ),
        (
            HeaderFormat::Draft07,
            &[("ratelimit-policy", "5;w=60"), ("ratelimit", "limit=5, remaining=4, reset=60")],
        ),
    ] {
        let throttle = Throttle::builder("api", FixedWindow::new(rate!("5/min")), memory(&Clock::default()));
        let told = answers(&throttle.headers(dialect).build().unwrap(), &[201]).await;
        for (name, value) in fields {
            assert_eq!(field(&told[0], name), *value, "{dialect:?}");
        }
        assert_eq!(field(&told[0], "retry-after"), "");
    }
    let once = Throttle::builder("api", FixedWindow::new(rate!("1/min")), memory(&Clock::default())).build();
    let told = answers(&once.unwrap(), &[201, 429]).await;
    assert_eq!(field(&told[1], "retry-after"), "60");
    let none = Throttle::builder("api", FixedWindow::new(rate!("0/min")), memory(&Clock::default())).build();
    let told = answers(&none.unwrap(), &[429]).await;
    assert_eq!(field(&told[0], "retry-after"), "", "no time is the right one");
}

/// Five limits on one client, as express-rate-limit 8.6.2 tells of them in its draft 8: all, in one field.
#[tokio::test]
async fn five_policies_of_express_rate_limit() {
    let clock = Clock::default();
    let policies = [
        ("1-in-5sec", rate!("1/5s")),
        ("5-in-1min", rate!("5/min")),
        ("6-in-1hr", rate!("6/h")),
        ("7-in-1day", rate!("7/d")),
        ("8-in-2days", rate!("8/2d")),
    ];
    let all = policies.iter().fold(ThrottleSet::new(), |all, (name, rate)| {
        let throttle = Throttle::builder(name, FixedWindow::new(*rate), memory(&clock));
        all.and(throttle.headers(HeaderFormat::Draft10).build().unwrap())
    });
    let told = answers(&all, &[201, 429]).await;
    let policies = [
        r#""1-in-5sec";q=1;w=5"#,
        r#""5-in-1min";q=5;w=60"#,
        r#""6-in-1hr";q=6;w=3600"#,
        r#""7-in-1day";q=7;w=86400"#,
        r#""8-in-2days";q=8;w=172800"#,
    ];
    assert_eq!(field(&told[0], "ratelimit-policy"), policies.join(", "));
    let limits = [
        r#""1-in-5sec";r=0;t=5"#,
        r#""5-in-1min";r=4;t=60"#,
        r#""6-in-1hr";r=5;t=3600"#,
        r#""7-in-1day";r=6;t=86400"#,
        r#""8-in-2days";r=7;t=172800"#,
    ];
    assert_eq!(field(&told[0], "ratelimit"), limits.join(", "));
    // Denied by one, the others are not charged, and the wait that is asked for is no less than any time
    // told.
    assert_eq!(field(&told[1], "retry-after"), "5");
    let denied = limits.join(", ").replace(";t=60", "").replace(";t=3600", "");
    assert_eq!(field(&told[1], "ratelimit"), denied.replace(";t=86400", "").replace(";t=172800", ""));
}

/// `skipFailedRequests` and `skipSuccessfulRequests` of express-rate-limit 8.6.2
/// (test/library/middleware-test.ts): what is not to count is given back once the answer is known, but not to
/// another window, and the answer tells the figures of before.
#[tokio::test]
async fn requests_that_are_not_to_count() {
    for (counts, lasts, statuses) in [
        (200, 0, [400, 400, 400, 200, 200, 429]),
        (400, 0, [200, 200, 200, 400, 400, 429]),
        // The window is over when the answer is there, and the next one stays as it is.
        (200, 75, [400, 400, 400, 200, 200, 200]),
    ] {
        let clock = Clock::default();
        let throttle = Throttle::builder("api", FixedWindow::new(rate!("2/50ms")), memory(&clock))
            .charge_if(move |response| response.status == counts)
            .headers(HeaderFormat::XRateLimit)
            .build()
            .unwrap();
        for status in statuses {
            let now = Arc::clone(&clock);
            let service = service_fn(move |_: Request<String>| {
                now.advance(Duration::from_millis(lasts));
                let response = Response::builder().status(status).body(String::new()).unwrap();
                std::future::ready(Ok::<_, std::convert::Infallible>(response))
            });
            let response =
                ThrottleLayer::new(throttle.clone()).layer(service).oneshot(request(1)).await.unwrap();
            assert_eq!(response.status(), status);
            if status != 429 && status != counts {
                assert_eq!(field(response.headers(), "x-ratelimit-remaining"), "1");
            }
        }
    }
}

/// "Should work repeatedly" of the same: 2 per 50 ms, and 60 ms between.
#[tokio::test]
async fn a_window_begins_anew() {
    let clock = Clock::default();
    let throttle =
        Throttle::builder("api", FixedWindow::new(rate!("2/50ms")), memory(&clock)).build().unwrap();
    for _ in 0..3 {
        answers(&throttle, &[201, 201, 429]).await;
        clock.advance(Duration::from_millis(60));
    }
}

/// Several limits on one route of slowapi 0.1.9 (tests/test_starlette_extension.py): without a breach its
/// headers show the tightest limit, else the one that is breached. It sends Retry-After with each answer, and
/// counts it from the end of a second that has begun; here it comes with a denial.
#[tokio::test]
async fn one_of_several_limits_of_slowapi_is_told() {
    let several = |clock: &Clock, rates: [Rate; 3]| {
        let throttle = Throttle::builder("t", All(rates.map(FixedWindow::new)), memory(clock));
        throttle.headers(HeaderFormat::XRateLimit).build().unwrap()
    };
    let figures = |told: &HeaderMap| {
        ["limit", "remaining", "reset"].map(|name| field(told, &format!("x-ratelimit-{name}")))
    };
    let clock = Clock::default();
    let first = answers(&several(&clock, [rate!("2/s"), rate!("5/min"), rate!("10/h")]), &[201]).await;
    assert_eq!(figures(&first[0]), ["2", "1", "1"]);
    let throttle = several(&clock, [rate!("2/s"), rate!("10/min"), rate!("20/h")]);
    for _ in 0..10 {
        answers(&throttle, &[201]).await;
        clock.advance(Duration::from_secs(1));
    }
    let breach = answers(&throttle, &[429]).await;
    assert_eq!(figures(&breach[0]), ["10", "0", "50"]);
    assert_eq!(field(&breach[0], "retry-after"), "50");
    clock.advance(Duration::from_secs(50));
    answers(&throttle, &[201]).await;
}

/// Shared limits, costs and a limit of all clients beside one for each, of the same.
#[tokio::test]
async fn shared_limits_and_costs_of_slowapi() {
    let clock = Clock::default();
    let throttle = |uid, rate| Throttle::builder(uid, FixedWindow::new(rate), memory(&clock));
    let at = |path: &str, peer| {
        let mut request = request(peer);
        *request.uri_mut() = path.parse().unwrap();
        request
    };
    // One limit for two routes.
    let shared = throttle("scope", rate!("5/min")).apply_to(Rule::new().path("/t1"));
    let shared = shared.apply_to(Rule::new().path("/t2")).build().unwrap();
    let asked = (0..10).map(|_| at("/t1", 1)).chain([at("/t2", 1)]);
    assert_eq!(statuses(&shared, asked).await, [[201; 5].as_slice(), &[429; 6]].concat());
    // 5 per minute for each client, and 10 for all of them: who is denied by one takes nothing of the other.
    let all = throttle("all", rate!("10/min")).identifier(|_: RequestParts<'_>| Identity::of(b'k', b"test"));
    let each =
        ThrottleSet::new().and(throttle("each", rate!("5/min")).build().unwrap()).and(all.build().unwrap());
    let asked = (0..10).map(|_| request(2));
    assert_eq!(statuses(&each, asked).await, [[201; 5], [429; 5]].concat());
    assert_eq!(statuses(&each, (0..6).map(|_| request(1))).await, [201, 201, 201, 201, 201, 429]);
    assert_eq!(statuses(&each, [request(3)]).await, [429]);
    // 50 per minute, in hits of 10 and of 15.
    for (cost, passed) in [(10, 5), (15, 3)] {
        let dear = throttle("dear", rate!("50/min")).cost(cost).build().unwrap();
        let passes = statuses(&dear, (0..10).map(|_| request(1))).await;
        assert_eq!(passes, [vec![201; passed], vec![429; 10 - passed]].concat());
    }
}

//! What a client is told: when to come back, where it stands, and what one's own handler says.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, Service, service_fn};
use traffik::http::{Dialect, Sent, Throttle, ThrottleLayer};
use traffik::storage::{AsyncStorage, Reply};
use traffik::{All, ErasedKey, Gcra, Op, Strategy, Timestamp, TokenBucket, rate};

use crate::throttle::statuses;
use crate::{Clock, elsewhere, header, hello, memory, request};

/// A wait of at least this is told, and nobody is denied for it (a defect of the system this one follows).
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
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.apply(limit, key, op)
    }

    fn load(&self, limit: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.load(limit, key)
    }
}

/// What is told with an admission, or a denial, is what was decided: nothing is asked twice.
#[tokio::test]
async fn headers_take_no_second_call() {
    for dialect in [Dialect::Draft10, Dialect::Draft07, Dialect::Draft06, Dialect::XRateLimit] {
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
            .header(name("x-service"), HeaderValue::from_static("orders"), Sent::Always)
            .header(name("x-contact"), HeaderValue::from_static("sales"), Sent::WhenDenied)
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

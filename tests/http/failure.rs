//! Requests that no storage decides on, or another storage than the throttle's own; and the headers and
//! observers that report it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, Service, service_fn};
use traffik::layer::{DenyCache, Failover};
use traffik::storage::BackendError;
use traffik::web::{
    Admission, Anonymous, Enforcement, ErrorAction, HeaderFormat, Identify, Identity, OnError, Peer, Refusal,
    RequestError, RequestOutcome, RequestParts, Tally, Throttle, ThrottleBuilder, ThrottleDefaults,
    ThrottleLayer, ThrottleSet,
};
use traffik::{Class, ErrorKind, Gcra, Origin, TokenBucket, rate};

use crate::throttle::statuses;
use crate::{Broken, Clock, elsewhere, header, hello, memory, owned, request};

const DOWN: Broken = Broken(ErrorKind::Unavailable);

fn broken(uid: &str) -> ThrottleBuilder<Gcra, Broken> {
    Throttle::builder(uid, Gcra::new(rate!("1/h")), DOWN)
}

/// The status of each of several requests, and the origin that its headers report.
async fn told<G: Admission>(gate: &G, number: usize) -> Vec<(u16, String)> {
    let mut service = ThrottleLayer::new(gate.clone()).layer(service_fn(hello));
    let mut told = Vec::new();
    for _ in 0..number {
        let response = service.call(request(1)).await.unwrap();
        told.push((response.status().as_u16(), header(&response, "x-ratelimit-source").to_owned()));
    }
    told
}

fn is<const N: usize>(told: &[(u16, String)], expected: [(u16, &str); N]) {
    assert_eq!(told, expected.map(|(status, source)| (status, source.to_owned())));
}

#[tokio::test]
async fn a_storage_that_fails_is_met_as_one_chooses() {
    let kind = ErrorKind::Unavailable;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&seen);
    let ask = OnError::ask(move |trouble| {
        let limit = trouble.limits.first().map(|told| (told.decision.limit(), told.decision.window()));
        tell.lock().unwrap().push((
            trouble.throttle.to_owned(),
            trouble.kind(),
            trouble.client.map(owned),
            trouble.cost,
            limit,
        ));
        match trouble.request.method.as_str() {
            "GET" => ErrorAction::Allow,
            "PUT" => ErrorAction::Answer(Response::builder().status(507).body("full".into()).unwrap()),
            _ => ErrorAction::ThrottleFor(Duration::from_secs(3)),
        }
    });
    for (on_error, expected) in [
        (OnError::default(), [503, 503, 503]),
        (OnError::Allow, [201, 201, 201]),
        (OnError::Raise, [500, 500, 500]),
        (ask, [201, 507, 503]),
    ] {
        let throttle = broken("api").cost(3).on_error(on_error).build().unwrap();
        let asked = ["GET", "PUT", "POST"].map(|method| {
            let mut request = request(1);
            *request.method_mut() = method.parse().unwrap();
            request
        });
        assert_eq!(statuses(&throttle, asked).await, expected);
    }
    let Identity::Key(client) = Peer::default().identify((&request(1)).into()) else { unreachable!() };
    let limit = Some((1, Duration::from_secs(3600)));
    let all = ("api".to_owned(), kind, Some(client.as_bytes().to_vec()), Some(3), limit);
    assert_eq!(*seen.lock().unwrap(), vec![all; 3]);

    let raised = broken("api").on_error(OnError::Raise).build().unwrap();
    let answer = raised.hit(&request(1)).await.unwrap_err();
    assert_eq!(answer.failure().unwrap().kind(), kind);
    assert_eq!(answer.response().extensions().get::<BackendError>().unwrap().kind(), kind);
    let allowed = broken("api").on_error(OnError::Allow).build().unwrap();
    assert_eq!(allowed.hit(&request(1)).await.unwrap().origin(), Origin::DegradedOpen);
}

/// A failure may let a request pass, so it never takes the place of a refusal: neither one by the identifier
/// nor one by another function, answered at once or after a while.
#[tokio::test]
async fn a_client_that_is_refused_is_refused_whatever_fails() {
    fn down<T>() -> Result<T, RequestError> {
        Err(std::io::Error::other("the database is down").into())
    }
    fn unknown() -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, "unknown")
    }
    type Builder = ThrottleBuilder<Gcra, traffik::storage::Local<traffik::Memory<Gcra>>>;
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let failing: [&dyn Fn(Builder) -> Builder; 5] = [
        &|throttle| throttle.strategy_by(|_| down()),
        &|throttle| throttle.strategy_by_async(|_| async { down() }),
        &|throttle| throttle.cost_by(|_| down()),
        &|throttle| throttle.cost_by_async(|_| async { down() }),
        &move |throttle| {
            let count = Arc::clone(&count);
            throttle.cost_by(move |_| {
                *count.lock().unwrap() += 1;
                1
            })
        },
    ];
    let refusing: [&dyn Fn(Builder) -> Builder; 6] = [
        &|throttle| throttle.identifier_by(|_| Identity::Refused(unknown())),
        &|throttle| throttle.identifier_by_async(|_| async { Identity::Refused(unknown()) }),
        &|throttle| throttle.identifier_by(|_| Err::<Identity, _>(RequestError::Refused(unknown()))),
        &|throttle| {
            throttle
                .identifier_by(|_| Identity::anonymous())
                .anonymous(Anonymous::Reject(StatusCode::UNAUTHORIZED))
        },
        &|throttle| throttle.class_by(|_| Err::<Class, _>(RequestError::Refused(unknown()))),
        &|throttle| throttle.class_by_async(|_| async { Err::<Class, _>(RequestError::Refused(unknown())) }),
    ];
    for (number, refusing) in refusing.iter().enumerate() {
        for failing in failing {
            for on_error in [OnError::Allow, OnError::Throttle] {
                let throttle = Throttle::in_memory("api", Gcra::new(rate!("1/h"))).on_error(on_error);
                let throttle = failing(refusing(throttle)).build().unwrap();
                assert_eq!(statuses(&throttle, [request(1)]).await, [401], "refusal {number}");
            }
        }
    }
    // By the refusals of the class, and by that of the identifier whose answer comes later.
    assert_eq!(*asked.lock().unwrap(), 6);
}

/// The reaction can tell a failure of the storage from one of a function: only then is the client known.
#[tokio::test]
async fn a_failed_function_is_told_from_a_failed_storage() {
    let ask = || {
        OnError::ask(|context| match context.client {
            Some(_) => ErrorAction::Allow,
            None => ErrorAction::Throttle,
        })
    };
    let storage = broken("api").on_error(ask()).build().unwrap();
    assert_eq!(statuses(&storage, [request(1)]).await, [201]);
    let down = || RequestError::from(std::io::Error::other("the database is down"));
    let function = broken("api").on_error(ask()).cost_by(move |_| Err::<u32, _>(down()));
    assert_eq!(statuses(&function.build().unwrap(), [request(1)]).await, [503]);
}

#[tokio::test]
async fn a_wait_is_told_in_whole_seconds_and_in_milliseconds() {
    for (on_error, seconds, millis) in [
        (OnError::Throttle, "1", 1000),
        (OnError::ThrottleFor(Duration::from_micros(2_500_001)), "3", 2501),
        (OnError::ThrottleFor(Duration::ZERO), "1", 0),
    ] {
        let throttle = broken("api").on_error(on_error).build().unwrap();
        let answer = throttle.hit(&request(1)).await.unwrap_err().into_inner();
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (503, seconds));
        let body = String::from_utf8(answer.into_body().to_vec()).unwrap();
        assert!(body.ends_with(&format!("\"retry_after_ms\":{millis}}}")), "{body}");
        let mut call = request(1);
        call.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        let answer = throttle.hit(&call).await.unwrap_err().into_inner();
        assert_eq!(header(&answer, "grpc-status"), "14");
    }
}

#[tokio::test]
async fn a_throttle_goes_before_its_storage_and_that_before_what_is_the_default() {
    let limit = Gcra::new(rate!("1/h"));
    let base = ThrottleDefaults::new(DOWN).on_error(OnError::Allow);
    let of_the_storage = base.throttle("a", limit).build().unwrap();
    let its_own = base.throttle("b", limit).on_error(OnError::Raise).build().unwrap();
    let nobodys = ThrottleDefaults::new(DOWN).throttle("c", limit).build().unwrap();
    assert_eq!(statuses(&of_the_storage, [request(1)]).await, [201]);
    assert_eq!(statuses(&its_own, [request(1)]).await, [500]);
    assert_eq!(statuses(&nobodys, [request(1)]).await, [503]);
}

/// Every origin, in the header and in the figures, of a throttle alone and among others.
#[tokio::test]
async fn headers_and_figures_tell_where_a_decision_comes_from() {
    let clock = Clock::default();
    let limit = TokenBucket::new(rate!("1/h"));
    let tally = Tally::default();

    let cached = DenyCache::builder(elsewhere(memory(&clock))).clock(Arc::clone(&clock)).build();
    let cached = Throttle::builder("cached", limit, Arc::new(cached)).headers(HeaderFormat::Draft10);
    let cached = cached.observe(tally.clone()).build().unwrap();
    let expected = [(201, ""), (429, ""), (429, "deny-cache"), (429, "deny-cache")];
    is(&told(&cached, 4).await, expected);

    let fallback = Failover::builder(DOWN, memory(&clock)).clock(Arc::clone(&clock)).build();
    let fallback = Throttle::builder("fallback", limit, Arc::new(fallback)).headers(HeaderFormat::XRateLimit);
    let fallback = fallback.observe(tally.clone()).build().unwrap();
    is(&told(&fallback, 2).await, [(201, "fallback"), (429, "fallback")]);
    is(&told(&ThrottleSet::new().and(fallback), 1).await, [(429, "fallback")]);

    for (on_error, status, source) in
        [(OnError::Allow, 201, "degraded-open"), (OnError::Throttle, 503, "degraded-closed")]
    {
        let throttle =
            broken(source).headers(HeaderFormat::Draft07).on_error(on_error).observe(tally.clone());
        let throttle = throttle.build().unwrap();
        is(&told(&throttle, 1).await, [(status, source)]);
        let good =
            Throttle::builder("good", limit, memory(&clock)).headers(HeaderFormat::Draft10).build().unwrap();
        is(&told(&ThrottleSet::new().and(good).and(throttle), 1).await, [(status, source)]);
    }

    let exempt = Throttle::builder("exempt", limit, memory(&clock)).headers(HeaderFormat::Draft10);
    let exempt =
        exempt.identifier(|_: RequestParts<'_>| Identity::Exempt).observe(tally.clone()).build().unwrap();
    is(&told(&exempt, 1).await, [(201, "exempt")]);
    is(&told(&ThrottleSet::new().and(exempt), 1).await, [(201, "exempt")]);

    // Only observers see a shadow, and without a dialect no header reports it.
    let shadow = Throttle::builder("shadow", limit, memory(&clock)).headers(HeaderFormat::Draft10);
    let shadow = shadow.enforcement(Enforcement::Shadow).observe(tally.clone()).build().unwrap();
    is(&told(&shadow, 2).await, [(201, ""), (201, "")]);
    let silent = broken("silent").observe(tally.clone()).build().unwrap();
    is(&told(&silent, 1).await, [(503, "")]);

    for (throttle, origin, number) in [
        ("cached", Origin::Store, 2),
        ("cached", Origin::DenyCache, 2),
        ("fallback", Origin::Fallback, 3),
        ("degraded-open", Origin::DegradedOpen, 2),
        ("degraded-closed", Origin::DegradedClosed, 2),
        ("exempt", Origin::Exempt, 2),
        ("shadow", Origin::Shadow, 2),
        ("silent", Origin::DegradedClosed, 1),
    ] {
        assert_eq!(tally.decisions(throttle, origin), number, "{throttle} {origin:?}");
        let line = format!(
            "traffik_decisions_total{{throttle=\"{}\",source=\"{}\"}} {number}\n",
            throttle,
            origin.name()
        );
        assert!(tally.prometheus().contains(&line), "{line}");
    }
    assert_eq!(tally.count("degraded-open", RequestOutcome::Failed), 2);
}

#[tokio::test]
async fn of_several_one_that_fails_is_met_as_it_says() {
    let good = || {
        Throttle::builder("good", TokenBucket::new(rate!("2/h")), memory(&Clock::default())).build().unwrap()
    };
    let asked = || (0..3).map(|_| request(1));
    let closed = ThrottleSet::new().and(good()).and(broken("broken").build().unwrap());
    assert_eq!(statuses(&closed, asked()).await, [503, 503, 503]);
    let open = ThrottleSet::new().and(good()).and(broken("broken").on_error(OnError::Allow).build().unwrap());
    assert_eq!(statuses(&open, asked()).await, [201, 201, 429], "the other one still holds");
}

/// Each that fails is heard of, though only the first one answers.
#[tokio::test]
async fn of_several_that_fail_all_are_heard_of() {
    let tally = Tally::default();
    let failing = |uid: &'static str, on_error| {
        broken(uid)
            .strategy_by(|_| Err(BackendError::new(ErrorKind::Other, "broken for a test").into()))
            .on_error(on_error)
            .observe(tally.clone())
            .build()
            .unwrap()
    };
    let several = ThrottleSet::new()
        .and(failing("a", OnError::Allow))
        .and(failing("b", OnError::ThrottleFor(Duration::from_secs(9))))
        .and(failing("c", OnError::Raise));
    let mut service = ThrottleLayer::new(several).layer(service_fn(hello));
    let response = service.call(request(1)).await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (503, "9"));
    drop(response.into_body().collect().await);
    assert_eq!(["a", "b", "c"].map(|uid| tally.count(uid, RequestOutcome::Failed)), [1, 1, 1]);
}

/// A refund that goes to the background would come after the throttle is asked again, and be denied for its own charge.
#[tokio::test]
async fn what_was_charged_before_another_one_failed_is_back_before_it_is_asked_again() {
    let spawn = |future| drop(tokio::spawn(future));
    let first = Throttle::builder("first", Gcra::new(rate!("1/h")), elsewhere(memory(&Clock::default())));
    let first = first.spawner(spawn).build().unwrap();
    let second = Throttle::builder("second", Gcra::new(rate!("1/h")), elsewhere(DOWN));
    let second = second.spawner(spawn).on_error(OnError::Allow).build().unwrap();
    is(&told(&ThrottleSet::new().and(first).and(second), 2).await, [(201, ""), (429, "")]);
}

/// The same remedies after a while as at once: of a throttle alone, of several, and within a handler.
#[tokio::test]
async fn a_function_that_is_asked_may_take_its_time() {
    let later = |remedy: fn() -> ErrorAction| {
        OnError::ask_async(move |trouble| {
            let is_known = trouble.client.is_some() && trouble.kind() == ErrorKind::Unavailable;
            async move {
                tokio::task::yield_now().await;
                if is_known { remedy() } else { ErrorAction::Throttle }
            }
        })
    };
    let full = || ErrorAction::Answer(Response::builder().status(507).body("full".into()).unwrap());
    let remedies: [(fn() -> ErrorAction, u16); 5] = [
        (|| ErrorAction::Allow, 201),
        (|| ErrorAction::Throttle, 503),
        (|| ErrorAction::ThrottleFor(Duration::from_secs(3)), 503),
        (|| ErrorAction::Raise, 500),
        (full, 507),
    ];
    for (remedy, status) in remedies {
        let tally = Tally::default();
        let alone = broken("alone").on_error(later(remedy)).headers(HeaderFormat::XRateLimit);
        let alone = alone.observe(tally.clone()).build().unwrap();
        let source = if status == 201 { "degraded-open" } else { "degraded-closed" };
        is(&told(&alone, 1).await, [(status, source)]);
        assert_eq!(tally.count("alone", RequestOutcome::Failed), 1);
        let hit = alone.hit(&request(1)).await;
        assert_eq!(hit.map_or_else(|rejection| rejection.status().as_u16(), |_| 201), status);
        let function =
            broken("function").cost_by(|_| Err(BackendError::new(ErrorKind::Unavailable, "who").into()));
        let function = function.on_error(OnError::ask_async(move |_| async move { remedy() })).build();
        assert_eq!(statuses(&function.unwrap(), [request(1)]).await, [status]);
        // Of several the first that does not let it pass answers, and one that is well still holds.
        let good = Throttle::builder("good", TokenBucket::new(rate!("1/h")), memory(&Clock::default()));
        let several = ThrottleSet::new()
            .and(broken("open").on_error(later(|| ErrorAction::Allow)).build().unwrap())
            .and(broken("now").on_error(OnError::ask(|_| ErrorAction::Allow)).build().unwrap())
            .and(broken("it").on_error(later(remedy)).build().unwrap())
            .and(good.build().unwrap());
        let then = if status == 201 { 429 } else { status };
        assert_eq!(statuses(&several, [request(1), request(1)]).await, [status, then]);
    }
}

/// A client that goes away while a function is asked takes the question with it.
#[tokio::test]
async fn a_question_ends_with_its_client() {
    let asked = Arc::new(());
    let held = Arc::clone(&asked);
    let throttle = broken("api").on_error(OnError::ask_async(move |_| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            ErrorAction::Allow
        }
    }));
    let throttle = throttle.build().unwrap();
    let request = request(1);
    let mut hit = Box::pin(throttle.hit(&request));
    assert!(futures_util::poll!(&mut hit).is_pending());
    assert_eq!(Arc::strong_count(&asked), 3);
    drop(hit);
    assert_eq!(Arc::strong_count(&asked), 2);
}

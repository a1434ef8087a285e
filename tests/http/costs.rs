//! The final cost of a request, and charges that add up.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use traffik::storage::{AsyncStorage, Local};
use traffik::strategy::{Label, StatValue};
use traffik::web::{
    ClientKey, HeaderFormat, OnError, Quota, RateLimitStatus, RequestParts, Throttle, ThrottleLayer,
    ThrottleSet,
};
use traffik::{Class, FixedWindow, Memory, Ratio, Tiered, TokenBucket, rate};

use crate::throttle::statuses;
use crate::{Broken, Clock, elsewhere, header, hello, memory, request};

type Stored = Arc<dyn AsyncStorage<TokenBucket>>;

fn here() -> Stored {
    Arc::new(Local(Memory::new(100)))
}

fn there() -> Stored {
    Arc::new(elsewhere(here()))
}

fn wrong(response: &http::response::Parts) -> bool {
    response.status == StatusCode::UNAUTHORIZED
}

/// A hundred wrong logins at once at a limit of five: five reach the handler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_wrong_logins_at_once_five_reach_the_handler() {
    for storage in [here(), there()] {
        let reached = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&reached);
        let login = service_fn(move |_: Request<String>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Response::builder().status(401).body(Full::<Bytes>::default()).unwrap())
            }
        });
        let throttle =
            Throttle::builder("login", TokenBucket::new(rate!("5/w")), storage).charge_if(wrong).build();
        let service = ThrottleLayer::new(throttle.unwrap()).layer(login);
        let attempts: Vec<_> = (0..100).map(|_| tokio::spawn(service.clone().oneshot(request(1)))).collect();
        let mut denied = 0;
        for attempt in attempts {
            denied += usize::from(attempt.await.unwrap().unwrap().status() == 429);
        }
        assert_eq!((reached.load(Ordering::Relaxed), denied), (5, 95));
    }
}

#[tokio::test]
async fn right_logins_cost_nothing() {
    for storage in [here(), there()] {
        let login = service_fn(async |request: Request<String>| {
            let status = if request.headers().contains_key("right") { 200 } else { 401 };
            Ok::<_, Infallible>(Response::builder().status(status).body(Full::<Bytes>::default()).unwrap())
        });
        let throttle =
            Throttle::builder("login", TokenBucket::new(rate!("2/w")), storage).charge_if(wrong).build();
        let throttle = throttle.unwrap();
        for service in [true, false] {
            let _ = throttle.client(&request(1)).await.unwrap().unwrap().reset().await.unwrap();
            let mut single = ThrottleLayer::new(throttle.clone()).layer(login);
            let mut among = ThrottleLayer::new(ThrottleSet::new().and(throttle.clone())).layer(login);
            let mut statuses = Vec::new();
            for right in [true, true, true, false, true, false, true, false] {
                let mut request = request(1);
                if right {
                    request.headers_mut().insert("right", "1".parse().unwrap());
                }
                let response = if service { single.call(request).await } else { among.call(request).await };
                statuses.push(response.unwrap().status().as_u16());
            }
            assert_eq!(statuses, [200, 200, 200, 401, 200, 401, 429, 429]);
        }
    }
}

/// A reserve of ten, and the true cost once the body has ended: the difference is given back, or charged.
#[tokio::test]
async fn a_body_is_paid_for_when_it_has_ended() {
    for storage in [here(), there()] {
        let throttle = Throttle::builder("bytes", TokenBucket::new(rate!("100/w")), storage)
            .cost(10)
            .settle_by(|_, bytes| bytes as u32)
            .build()
            .unwrap();
        let client = throttle.client(&request(1)).await.unwrap().unwrap();
        let left = async || client.stat().await.unwrap().tokens;
        let mut service = ThrottleLayer::new(throttle.clone()).layer(service_fn(hello));
        let mut send = async |length: usize| {
            let mut request = request(1);
            *request.body_mut() = "x".repeat(length);
            service.call(request).await.unwrap()
        };
        let response = send(3).await;
        assert_eq!(left().await, 90, "the reserve");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 3);
        assert_eq!(left().await, 97);
        let _ = send(50).await.into_body().collect().await.unwrap();
        assert_eq!(left().await, 47);
        let _ = send(10).await.into_body().collect().await.unwrap();
        assert_eq!(left().await, 37);
        let _ = send(1_000).await.into_body().collect().await.unwrap();
        assert_eq!(left().await, -963, "what was sent is owed");
        assert_eq!(send(1).await.status(), 429);
    }
}

/// A handler that asks the throttle itself hands its response in, and settles what the middleware would.
#[tokio::test]
async fn a_handler_that_asks_hands_its_response_in() {
    for storage in [here(), there()] {
        let builder = |uid| Throttle::builder(uid, TokenBucket::new(rate!("100/w")), Arc::clone(&storage));
        let bytes = builder("bytes").cost(10).settle_by(|_, bytes| bytes as u32);
        let bytes = bytes.headers(HeaderFormat::XRateLimit).build().unwrap();
        let pass = bytes.hit(&request(1)).await.unwrap();
        let response = bytes.finish(pass, Response::new(Full::<Bytes>::from("abc"))).await;
        assert_eq!(header(&response, "x-ratelimit-remaining"), "90");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abc");
        let logins = builder("logins").charge_if(wrong).build().unwrap();
        let pass = logins.hit(&request(1)).await.unwrap();
        let _ = logins.finish(pass, Response::new(())).await;
        for (throttle, left) in [(bytes, 97), (logins, 100)] {
            let client = throttle.client(&request(1)).await.unwrap().unwrap();
            assert_eq!(client.stat().await.unwrap().tokens, left, "{}", throttle.uid());
        }
    }
}

/// A client that goes away has been sent what it was sent; told where somebody sees to it.
#[tokio::test]
async fn a_body_that_is_given_up_is_paid_for_as_far_as_it_went() {
    for (storage, settled) in [(here(), 100), (there(), 90)] {
        let builder = || {
            Throttle::builder("bytes", TokenBucket::new(rate!("100/w")), Arc::clone(&storage))
                .shared()
                .cost(10)
                .settle_by(|_, bytes| bytes as u32)
        };
        let throttle = builder().build().unwrap();
        let client = throttle.client(&request(1)).await.unwrap().unwrap();
        let response =
            ThrottleLayer::new(throttle).layer(service_fn(hello)).oneshot(request(1)).await.unwrap();
        drop(response);
        assert_eq!(client.stat().await.unwrap().tokens, settled, "elsewhere the reserve stays charged");
        let _ = client.reset().await.unwrap();
        let background = builder().spawner(|future| drop(tokio::spawn(future))).build().unwrap();
        let response =
            ThrottleLayer::new(background).layer(service_fn(hello)).oneshot(request(1)).await.unwrap();
        drop(response);
        while client.stat().await.unwrap().tokens < 100 {
            tokio::task::yield_now().await;
        }
    }
}

/// A request whose client goes away before it is served keeps its charge.
#[tokio::test]
async fn a_cancelled_request_stays_charged() {
    let throttle =
        Throttle::builder("login", TokenBucket::new(rate!("5/w")), here()).charge_if(wrong).build();
    let throttle = throttle.unwrap();
    let never =
        service_fn(|_: Request<String>| std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>());
    let mut future = Box::pin(ThrottleLayer::new(throttle.clone()).layer(never).oneshot(request(1)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    drop(future);
    let client = throttle.client(&request(1)).await.unwrap().unwrap();
    assert_eq!(client.stat().await.unwrap().tokens, 4);
}

#[tokio::test]
async fn charges_add_up_and_are_made_together_or_not_at_all() {
    for (first, second) in [(here(), here()), (here(), there()), (there(), there())] {
        let credits = Throttle::builder("credits", TokenBucket::new(rate!("10/w")), first).build().unwrap();
        let searches = Throttle::builder("searches", TokenBucket::new(rate!("3/w")), second).build().unwrap();
        let credit = async |cost| credits.client(&request(1)).await.unwrap().unwrap().cost(cost);
        let search = async || searches.client(&request(1)).await.unwrap().unwrap();
        let left = async || {
            let (a, b) = (credit(1).await.stat().await.unwrap(), search().await.stat().await.unwrap());
            (a.tokens, b.tokens)
        };
        let quota = Quota::new();
        quota.charge(credit(2).await);
        let nested = quota.nested();
        nested.charge(credit(3).await);
        nested.charge(search().await);
        let deeper = nested.nested();
        deeper.charge(credit(1).await);
        deeper.end();
        nested.end();
        let given_up = quota.nested();
        given_up.charge(credit(9).await);
        drop(given_up);
        assert_eq!((quota.cost(), left().await), (7, (10, 3)), "nothing is charged before");
        quota.clone().apply().await.unwrap();
        assert_eq!((quota.cost(), left().await), (0, (4, 2)));
        // One sum is checked, not its parts: three and three are more than four.
        quota.charge(search().await);
        quota.charge(credit(3).await);
        quota.charge(credit(3).await);
        let denied = quota.apply().await.unwrap_err();
        assert!(
            denied.to_string().starts_with("192.0.2.1 is over the limit credits; try again in "),
            "{denied}"
        );
        assert_eq!((denied.status().as_u16(), left().await, quota.cost()), (429, (4, 2), 7));
        drop(quota);
        assert_eq!(left().await, (4, 2), "what is not applied is not charged");
    }
}

/// The figures come by the position of a charge, also of one that was added to another.
#[tokio::test]
async fn each_charge_of_a_quota_has_its_figures() {
    for (first, second) in [(here(), here()), (here(), there()), (there(), there())] {
        let credits = Throttle::builder("credits", TokenBucket::new(rate!("10/w")), first).build().unwrap();
        let searches = Throttle::builder("searches", TokenBucket::new(rate!("3/w")), second).build().unwrap();
        let of = |name: &str| ClientKey::of(name);
        let apply = async |quota: &Quota| {
            let mut figures = Vec::new();
            let result = quota
                .apply_each(|at, name, decision| {
                    figures.push((at, name.to_owned(), decision.is_allowed(), decision.remaining()));
                })
                .await;
            figures.sort();
            (result.map_err(|rejection| rejection.throttle().to_owned()), figures)
        };
        let figure = |at, name: &str, allowed, left| (at, name.to_owned(), allowed, left);
        let quota = Quota::new();
        quota.charge(credits.client_for(of("a")).cost(2));
        quota.charge(searches.client_for(of("a")));
        quota.charge(credits.client_for(of("a")).cost(3));
        quota.charge(credits.client_for(of("b")));
        let expected = [(0, "credits", 5), (1, "searches", 2), (2, "credits", 5), (3, "credits", 9)];
        let expected = expected.map(|(at, name, left)| figure(at, name, true, left)).to_vec();
        assert_eq!(apply(&quota).await, (Ok(()), expected));
        assert_eq!((quota.cost(), apply(&quota).await), (0, (Ok(()), Vec::new())));

        // Denied twice, with the same positions: the charges are still there.
        quota.charge(credits.client_for(of("a")).cost(4));
        quota.charge(searches.client_for(of("a")).cost(9));
        quota.charge(credits.client_for(of("a")));
        for _ in 0..2 {
            let (result, figures) = apply(&quota).await;
            assert_eq!(result, Err("searches".to_owned()));
            assert!(figures.contains(&figure(1, "searches", false, 2)), "{figures:?}");
            let others: Vec<_> = figures.iter().filter(|it| it.0 != 1).collect();
            assert!(others.iter().all(|it| it.2 && it.3 == 5), "nothing is charged: {figures:?}");
        }
        quota.give_up();

        // A client that is not enforced is checked, and denies nothing.
        quota.charge(searches.client_for(of("a")).cost(9).enforced(false));
        quota.charge(credits.client_for(of("a")));
        let (result, figures) = apply(&quota).await;
        assert!(result.is_ok() && figures.contains(&figure(1, "credits", true, 4)), "{figures:?}");
    }
}

/// A storage that fails is handled as its throttle says, and the others decide.
#[tokio::test]
async fn a_quota_may_follow_on_error() {
    let broken = |on_error| {
        let storage = Broken(traffik::ErrorKind::Unavailable);
        let throttle = Throttle::builder("broken", TokenBucket::new(rate!("10/w")), storage);
        throttle.on_error(on_error).build().unwrap()
    };
    let credits = Throttle::in_memory("credits", TokenBucket::new(rate!("1/w"))).build().unwrap();
    let apply = async |on_error, cost| {
        let quota = Quota::new();
        quota.charge(broken(on_error).client_for(ClientKey::of("a")));
        quota.charge(credits.client_for(ClientKey::of("a")).cost(cost));
        let mut positions = Vec::new();
        let result = quota.apply_each(|at, _, _| positions.push(at)).await;
        (result.map_err(|it| (it.status().as_u16(), it.outcome().is_some())), positions, quota.cost())
    };
    assert_eq!(apply(OnError::Throttle, 1).await, (Err((503, false)), vec![], 2));
    assert_eq!(apply(OnError::Allow, 2).await, (Err((429, true)), vec![1], 3));
    assert_eq!(apply(OnError::Allow, 1).await, (Ok(()), vec![1], 0));
    let quota = Quota::new();
    quota.charge(broken(OnError::Allow).client_for(ClientKey::of("a")));
    assert_eq!(quota.apply().await.unwrap_err().status(), 503, "`apply` does not follow it");
}

/// Two tenants, two limits, two tiers: what is charged for one of them is not charged for the other.
#[tokio::test]
async fn what_is_chosen_for_each_charge_stays_chosen() {
    let of = |tenant: &'static str| {
        let mut request = request(1);
        request.headers_mut().insert("tenant", HeaderValue::from_static(tenant));
        request
    };
    let stores = [here(), here()];
    let chosen = stores.clone();
    let by_tenant = move |request: RequestParts<'_>| {
        chosen[usize::from(request.headers.get("tenant").is_some_and(|it| it == "b"))].clone()
    };
    let credits =
        Throttle::builder_by("credits", TokenBucket::new(rate!("10/w")), by_tenant).build().unwrap();
    let credit = async |tenant| credits.client(&of(tenant)).await.unwrap().unwrap();
    let left = async |tenant| credit(tenant).await.stat().await.unwrap().tokens;
    let quota = Quota::new();
    quota.charge(credit("a").await.cost(2));
    quota.charge(credit("b").await.cost(5));
    quota.apply().await.unwrap();
    assert_eq!((left("a").await, left("b").await), (8, 5));

    // A cost that one client may not have is denied, although another client may have it.
    let wide = TokenBucket::new(rate!("100/w"));
    quota.charge(credit("a").await.strategy(wide).cost(1));
    quota.charge(credit("b").await.cost(6));
    assert!(quota.apply().await.is_err());
    quota.give_up();
    assert_eq!((left("a").await, left("b").await), (8, 5));

    let free = Label::named("free");
    let tiered = Tiered::new(wide, [(free, Ratio::new(1, 10).unwrap())]).unwrap();
    let tier = move |request: RequestParts<'_>| {
        let mut class = Class::default();
        if request.headers.get("tenant").is_some_and(|it| it == "b") {
            class.tier = free;
        }
        class
    };
    let tiers = Throttle::in_memory("tiers", tiered).class_by(tier).build().unwrap();
    quota.charge(tiers.client(&of("a")).await.unwrap().unwrap().cost(1));
    quota.charge(tiers.client(&of("b")).await.unwrap().unwrap().cost(20));
    assert!(quota.apply().await.is_err(), "the lower tier has ten");
}

#[tokio::test]
async fn the_service_behind_is_told_where_the_client_stands() {
    let outer =
        Throttle::builder("outer", FixedWindow::new(rate!("9/h")), memory(&Clock::default())).expose();
    let inner = Throttle::builder(
        "inner",
        FixedWindow::new(rate!("5/h")),
        elsewhere(Arc::new(memory(&Clock::default()))),
    );
    let told = service_fn(async |request: Request<String>| {
        let all: Vec<_> =
            RateLimitStatus::all(request.extensions()).map(|it| it.throttle().to_owned()).collect();
        let inner = RateLimitStatus::of(request.extensions(), "inner").unwrap();
        let (name, decision) = inner.policies().next().unwrap();
        let used = inner.stat().await.unwrap().find("current_count");
        let told = format!("{all:?} {name} {} {:?}", decision.remaining(), used == Some(StatValue::Count(1)));
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(told)))
    });
    let inner = ThrottleLayer::new(inner.expose().build().unwrap()).layer(told);
    let mut service = ThrottleLayer::new(outer.build().unwrap()).layer(inner);
    let response = service.call(request(1)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"["outer", "inner"] inner 4 true"#);
    // Among several, too.
    let build = |uid| {
        Throttle::builder(uid, FixedWindow::new(rate!("5/h")), memory(&Clock::default()))
            .expose()
            .build()
            .unwrap()
    };
    let several = ThrottleSet::new().and(build("outer")).and(build("inner"));
    let response = ThrottleLayer::new(several).layer(told).oneshot(request(1)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"["outer", "inner"] inner 4 true"#);
}

/// The cost of a request by one of its own figures, told in the headers.
#[tokio::test]
async fn a_cost_is_told_as_it_was_charged() {
    let throttle = Throttle::builder("api", TokenBucket::new(rate!("100/h")), memory(&Clock::default()))
        .cost_by(|request| request.headers.get("content-length").map_or(1, |_| 40))
        .headers(HeaderFormat::XRateLimit)
        .build()
        .unwrap();
    let mut costly = request(1);
    costly.headers_mut().insert("content-length", "5".parse().unwrap());
    let mut service = ThrottleLayer::new(throttle.clone()).layer(service_fn(hello));
    let response = service.call(costly).await.unwrap();
    assert_eq!(header(&response, "x-ratelimit-remaining"), "60");
    assert_eq!(header(&service.call(request(1)).await.unwrap(), "x-ratelimit-remaining"), "59");
    assert_eq!(statuses(&throttle, [request(2)]).await, [201]);
}

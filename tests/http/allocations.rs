//! A check allocates nothing: counted by the allocator itself.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use actix_web::dev::Service as _;
use actix_web::middleware::Condition;
use actix_web::test::TestRequest;
use actix_web::{App, HttpResponse, web};
use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use traffik::storage::Local;
use traffik::strategy::{Erased, ErasedScale};
use traffik::web::{PeerAddress, Throttle, ThrottleLayer, Throttled};
use traffik::{
    All, FixedWindow, Gcra, Hours, Label, Limiter, Memory, Priority, Rate, Ratio, Strategy, Tiered,
    TimeOfDay, TokenBucket,
};

type Body = Full<Bytes>;

fn none_per_check<S: Strategy>(strategy: S) {
    let limiter = Limiter::new(strategy, Memory::new(1_000));
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let counted = measure(|| {
        for key in 0..10_000u64 {
            let _ = limiter.check(&key);
            let _ = limiter.check("the same, soon denied");
            let _ = limiter.check(&(address, "with a tuple of parts that is longer than a block"));
        }
    });
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
}

#[test]
fn checks_of_every_strategy_allocate_nothing() {
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            none_per_check(make(Rate::per_minute(10)).unwrap());
        };
    }
    traffik::every_strategy!(each);
    let named = [(Label::named("one"), Ratio::new(1, 2).unwrap())];
    let night = [Hours::new((22, 0), (6, 0), Ratio::new(1, 2).unwrap())];
    none_per_check(Tiered::new(Gcra::new(Rate::per_minute(10)), named).unwrap());
    none_per_check(Priority::new(TokenBucket::new(Rate::per_minute(10)), named).unwrap());
    none_per_check(TimeOfDay::new(FixedWindow::new(Rate::per_minute(10)), night).unwrap());
    let chosen: Arc<dyn ErasedScale<64>> = Arc::new(Gcra::new(Rate::per_minute(10)));
    none_per_check(Erased::new(chosen));
    none_per_check((Gcra::new(Rate::per_minute(10)), FixedWindow::new(Rate::per_hour(10))));
    none_per_check(All([Gcra::new(Rate::per_minute(10)), Gcra::new(Rate::per_hour(10))]));
}

/// The allow path of the middleware: from the request to the call of the inner service and its response.
#[test]
fn an_admitted_request_allocates_nothing() {
    let inner = service_fn(|request: Request<Body>| -> Ready<Result<_, Infallible>> {
        ready(Ok(Response::new(request.into_body())))
    });
    let mut service = ThrottleLayer::new(throttle()).layer(inner);
    for _ in 0..100 {
        none_per_request(|request| service.call(request));
    }
}

/// The same of the hyper service.
#[test]
fn an_admitted_request_to_a_hyper_service_allocates_nothing() {
    let inner = hyper::service::service_fn(|request: Request<Body>| -> Ready<Result<_, Infallible>> {
        ready(Ok(Response::new(request.into_body())))
    });
    let service = Throttled::new(inner, throttle());
    for _ in 0..100 {
        none_per_request(|request| hyper::service::Service::call(&service, request));
    }
}

/// actix-web's heads are of another type, so each is written anew. With eight fields, two of which have names
/// that are not common, that takes eleven: two for the text, two for the fields and one for each such name,
/// three for the extensions with the address, and two to put these into the request's own.
#[test]
fn an_admitted_request_to_actix_allocates_for_its_head_alone() {
    let counted = |limited: bool| {
        actix_web::rt::System::new().block_on(async {
            let layer = Condition::new(limited, ThrottleLayer::new(throttle()));
            let app = App::new().wrap(layer).default_service(web::to(HttpResponse::Ok));
            let app = actix_web::test::init_service(app).await;
            let request = || {
                let request = TestRequest::get().uri("/items/1?a=b").peer_addr(([192, 0, 2, 1], 1000).into());
                let names = ["host", "user-agent", "accept", "accept-language", "accept-encoding", "cookie"];
                let names = names.into_iter().chain(["x-request-id", "sec-ch-ua"]);
                names.fold(request, |request, name| request.insert_header((name, "a value"))).to_request()
            };
            let mut counts = Vec::new();
            for _ in 0..100 {
                let request = request();
                counts.push(measure(|| {
                    let future = pin!(app.call(request));
                    let told = future.poll(&mut Context::from_waker(Waker::noop()));
                    assert!(matches!(told, Poll::Ready(Ok(response)) if response.status() == 200));
                }));
            }
            counts.pop().unwrap()
        })
    };
    let (bare, limited) = (counted(false), counted(true));
    let more = (limited.count_total - bare.count_total, limited.bytes_total - bare.bytes_total);
    assert!(more.0 <= 11 && more.1 <= 3_000, "{more:?}");
}

fn throttle() -> Throttle<Gcra, Local<Memory<Gcra>>> {
    let limit = Gcra::new(Rate::per_second(1_000_000)).burst(1_000).unwrap();
    let throttle = Throttle::builder("api", limit, Local(Memory::new(100))).build().unwrap();
    // The first look at settings takes a place for this thread, once.
    assert!(throttle.is_enabled());
    throttle
}

fn none_per_request<B, F>(call: impl FnOnce(Request<Body>) -> F)
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    let mut request = Request::new(Body::from("hello"));
    request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 1000).into()));
    let mut admitted = false;
    let counted = measure(|| {
        let future = pin!(call(request));
        if let Poll::Ready(Ok(response)) = future.poll(&mut Context::from_waker(Waker::noop())) {
            admitted = response.status() == 200;
            // The response is dropped outside: what is in it is the inner service's.
            std::mem::forget(response);
        }
    });
    assert!(admitted);
    assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
}

//! A check allocates nothing: counted by the allocator itself.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use traffik::http::{PeerAddress, Throttle, ThrottleLayer};
use traffik::storage::Local;
use traffik::{All, FixedWindow, Gcra, Limiter, Memory, Rate, Strategy, TokenBucket};

fn none_per_check<S: Strategy>(limit: S) {
    let limiter = Limiter::new(limit, Memory::new(1_000));
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
    none_per_check(FixedWindow::new(Rate::per_minute(10)));
    none_per_check(TokenBucket::new(Rate::per_minute(10)));
    none_per_check(Gcra::new(Rate::per_minute(10)));
    none_per_check((Gcra::new(Rate::per_minute(10)), FixedWindow::new(Rate::per_hour(10))));
    none_per_check(All([Gcra::new(Rate::per_minute(10)), Gcra::new(Rate::per_hour(10))]));
}

/// The allow path of the middleware: from the request to the call of the inner service and its response.
#[test]
fn an_admitted_request_allocates_nothing() {
    let inner = service_fn(|request: Request<&'static str>| -> Ready<Result<_, Infallible>> {
        ready(Ok(Response::new(request.into_body())))
    });
    let throttle = Throttle::builder(
        "api",
        Gcra::new(Rate::per_second(1_000_000)).burst(1_000).unwrap(),
        Local(Memory::new(100)),
    );
    let mut service = ThrottleLayer::new(throttle.build().unwrap()).layer(inner);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..100 {
        let mut request = Request::new("hello");
        request.extensions_mut().insert(PeerAddress(([192, 0, 2, 1], 1000).into()));
        let mut admitted = false;
        let counted = measure(|| {
            let future = pin!(service.call(request));
            if let Poll::Ready(Ok(response)) = future.poll(&mut context) {
                admitted = response.status() == 200;
                // The response is dropped outside: what is in it is the inner service's.
                std::mem::forget(response);
            }
        });
        assert!(admitted);
        assert_eq!((counted.count_total, counted.bytes_total), (0, 0));
    }
}

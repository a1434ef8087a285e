//! A service called without a server.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::service::Service;
use traffik_bench_support::Counted;

use crate::service::PEER;

/// [`called`], whose instructions are counted.
pub const CALLED: Counted = Counted(concat!(module_path!(), "::called"));

/// Calls `service` `number` times.
#[inline(never)]
pub fn called<S: Service<Request<Empty<Bytes>>>>(service: &S, number: u64) {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..number {
        let mut request = Request::new(Empty::new());
        request.extensions_mut().insert(PEER);
        let future = pin!(service.call(request));
        match future.poll(&mut context) {
            Poll::Ready(response) => drop(black_box(response)),
            Poll::Pending => unreachable!("it is done at once"),
        }
    }
}

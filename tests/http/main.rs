//! Limits on HTTP requests: the client, the cost, the limit, and the answer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod actix;
mod allocations;
mod alternating;
mod answers;
mod costs;
mod failure;
mod fields;
mod glob;
mod golden;
mod gone;
mod grpc;
mod handlers;
mod identify;
mod inference;
mod middleware;
mod one_budget;
mod outgoing;
mod peers;
mod queue;
#[cfg(target_os = "linux")]
mod resident;
mod rules;
mod shadows;
mod sharing;
mod sockets;
mod throttle;
mod untouched;

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, service_fn};
use traffik::storage::{AsyncStorage, BackendError, Local, Reply};
use traffik::web::{Admission, PeerAddress, ResponseBody, ThrottleLayer};
use traffik::{ErasedKey, ManualClock, Memory, Op, Strategy, Timestamp};
use traffik_test_support::elsewhere::{Elsewhere, elsewhere, owned};

type Clock = Arc<ManualClock>;

/// A memory whose time stands still until it is moved.
fn memory<S: Strategy>(clock: &Clock) -> Local<Memory<S, Clock>> {
    Local(Memory::builder().capacity(100).clock(Arc::clone(clock)).build())
}

/// A service that is not ours: what it answers is to reach the client untouched.
async fn hello(request: Request<String>) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply =
        Response::builder().status(201).header("x-inner", "yes").body(Full::from(request.into_body()));
    Ok(reply.unwrap())
}

fn request(peer: u8) -> Request<String> {
    let mut request = Request::new("hello".to_owned());
    request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, peer], 1000).into()));
    request
}

/// The answer of a service behind the gate to a request.
async fn answer<G: Admission>(gate: &G, request: Request<String>) -> Response<ResponseBody<Full<Bytes>>> {
    ThrottleLayer::new(gate.clone()).layer(service_fn(hello)).call(request).await.unwrap()
}

fn header<'a, B>(response: &'a Response<B>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A storage that answers nothing but this failure.
#[derive(Clone)]
struct Broken(traffik::ErrorKind);

impl<S: Strategy> AsyncStorage<S> for Broken {
    fn apply(&self, _: &S, _: &dyn ErasedKey, _: &Op<S>) -> Reply<S::Verdict> {
        Reply::ready(Err(BackendError::new(self.0, "broken for a test")))
    }

    fn load(&self, _: &S, _: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        Reply::ready(Err(BackendError::new(self.0, "broken for a test")))
    }
}

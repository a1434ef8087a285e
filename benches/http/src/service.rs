//! The services that are compared.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Body;
use hyper::service::{Service, service_fn};
use traffik_backends::Memory;
use traffik_core::storage::Local;
use traffik_core::{ManualClock, Rate, TokenBucket};
use traffik_integrations::{PeerAddress, Throttle};

/// The address that all requests come from.
pub const PEER: PeerAddress =
    PeerAddress::new(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4321));

/// The answer of a service that does the least: all of it is there already.
pub fn ok() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// A service that is done at once.
pub fn serving<R: Body>()
-> impl Service<Request<R>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync {
    service_fn(|_: Request<R>| -> Ready<Result<_, Infallible>> { ready(Ok(ok())) })
}

type Limit = Throttle<TokenBucket, Local<Memory<TokenBucket, Arc<ManualClock>>>>;

/// A throttle that admits everything, or nothing but the first; its clock stands still, so that what it does is the same
/// every time.
pub fn throttle(admits: bool) -> Limit {
    let rate = if admits { Rate::per_second(4_000_000_000) } else { Rate::per_minute(1) };
    let storage = Memory::builder().capacity(10_000).clock(Arc::new(ManualClock::default())).build();
    Throttle::builder("api", TokenBucket::new(rate), Local(storage)).build().expect("a plain name")
}

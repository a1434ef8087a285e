//! The doors through which requests reach the throttles. All doors count under the same limits.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::Service;
use traffik::storage::BoxFuture;
use traffik::web::{Admission, ResponseBody, Throttled};

use crate::proxy::upstream::Upstream;
use crate::response::{Body, GatewayResponse, text};

/// A function that answers a request, of one type for all strategies.
pub(crate) type DoorHandler<B> = Arc<
    dyn Fn(Request<B>) -> BoxFuture<'static, Result<Response<ResponseBody<Body>>, Infallible>> + Send + Sync,
>;

/// The handler of each door.
#[derive(Clone)]
pub(crate) struct Doors {
    /// Passes a request through the throttles to the service behind.
    pub(crate) proxy: DoorHandler<Incoming>,
    /// Passes a request that a proxy asks about through the throttles, and answers 200 if they admit it.
    pub(crate) auth: DoorHandler<()>,
}

impl Doors {
    pub(crate) fn new<A: Admission + Clone>(upstream: Upstream, admission: A) -> Self {
        let (proxy, auth) =
            (Throttled::new(upstream, admission.clone()), Throttled::new(Admitted, admission));
        Self {
            proxy: Arc::new(move |request| Box::pin(proxy.call(request))),
            auth: Arc::new(move |request| Box::pin(auth.call(request))),
        }
    }
}

/// Marks a request that a trusted proxy asks about: its class headers are those of the proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedByProxy;

/// The service that answers every request with 200 and no body.
#[derive(Clone, Copy, Debug)]
struct Admitted;

impl Service<Request<()>> for Admitted {
    type Response = GatewayResponse;
    type Error = Infallible;
    type Future = Ready<Result<GatewayResponse, Infallible>>;

    fn call(&self, _: Request<()>) -> Self::Future {
        ready(Ok(text(StatusCode::OK, "")))
    }
}

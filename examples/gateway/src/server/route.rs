//! The door that a request comes through, and its way from there.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use traffik::web::{PeerAddress, ResponseBody};

use crate::admin::paths::{self, Audience};
use crate::auth;
use crate::gateway::Gateway;
use crate::observe::counters::{self, COUNTERS};
use crate::proxy::target;
use crate::response::Body;

/// The door that a listener belongs to.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Door {
    /// The service behind, and the admin paths for this audience.
    Clients(Audience),
    /// The admin paths alone.
    Admin,
    /// Forward auth.
    Auth,
}

/// Routes a request to the admin paths or to the throttles.
pub(super) async fn route(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    door: Door,
    gateway: Arc<Gateway>,
) -> Result<Response<ResponseBody<Body>>, Infallible> {
    let audience = match door {
        Door::Clients(audience) => audience,
        Door::Admin => Audience::Everybody,
        Door::Auth => return Ok(auth::service::answer(request, peer, &gateway).await),
    };
    if let (Door::Clients(_), Some(refused)) = (door, target::refused(&request)) {
        return Ok(refused.map(ResponseBody::from));
    }
    if door == Door::Admin || request.uri().path().starts_with(paths::BELOW) {
        return Ok(paths::answer(&request, peer, audience, &gateway).await.map(ResponseBody::from));
    }
    counters::count(&COUNTERS.proxy_requests);
    request.extensions_mut().insert(PeerAddress::new(peer));
    let handler = Arc::clone(&gateway.pipeline.load().doors.proxy);
    handler(request).await
}

//! The door that a request comes through, and its way from there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::service::Routes;
use traffik::web::{PeerAddress, ResponseBody};

use crate::admin::paths::{self, Audience};
use crate::gateway::Gateway;
use crate::observe::counters::{self, COUNTERS};
use crate::proxy::target;
use crate::response::Body;
use crate::{auth, rls};

/// The door that a listener belongs to.
#[derive(Clone)]
pub(crate) enum Door {
    /// The service behind, and the admin paths for this audience.
    Clients(Audience),
    /// The admin paths alone.
    Admin,
    /// Forward auth.
    Auth,
    /// Envoy's rate limit service.
    RateLimits(Routes),
}

/// Routes a request to the admin paths or to the throttles.
///
/// Waits for the upstream or the store, as long as their deadlines allow. A dropped future may have charged
/// the request.
pub(crate) async fn route(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    local: Option<IpAddr>,
    door: &Door,
    gateway: &Arc<Gateway>,
) -> Response<ResponseBody<Body>> {
    let audience = match door {
        Door::Clients(audience) => *audience,
        Door::Admin => {
            let answer = paths::answer(&request, peer, local, Audience::Everybody, gateway);
            return Box::pin(answer).await.map(From::from);
        }
        Door::Auth => return auth::service::answer(request, peer, gateway).await,
        Door::RateLimits(routes) => return rls::service::answer(routes, request).await,
    };
    if let Some(refused) = target::refused(&request) {
        return refused.map(ResponseBody::from);
    }
    if request.uri().path().starts_with(paths::BELOW) {
        // Boxed, since each connection would have its memory all the time.
        let answer = Box::pin(paths::answer(&request, peer, local, audience, gateway));
        return answer.await.map(ResponseBody::from);
    }
    counters::count(&COUNTERS.proxy_requests);
    request.extensions_mut().insert(PeerAddress::new(peer));
    let handler = Arc::clone(&gateway.pipeline.load().doors.proxy);
    handler(request).await.unwrap_or_else(|never| match never {})
}

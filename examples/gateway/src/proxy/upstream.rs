//! The service behind the throttles: an upstream server, or a fixed response and a WebSocket without one.

use std::convert::Infallible;

use http::header::{CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use traffik::storage::BoxFuture;
use traffik::web::PeerAddress;

use crate::proxy::echo::Echo;
use crate::response::{GatewayResponse, text};

/// The service that forwards requests to a server, or answers 200 "ok" without one.
#[derive(Clone)]
pub(crate) struct Upstream {
    target: Option<Uri>,
    client: Client<HttpConnector, Incoming>,
    /// The WebSocket at `/ws`, served without an upstream only.
    pub(crate) echo: Echo,
}

impl Upstream {
    /// Creates the service. `target` has a scheme and an authority; its path is prepended to that of each
    /// request.
    pub(crate) fn new(target: Option<Uri>, echo: Echo) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self { target, client: Client::builder(TokioExecutor::new()).build(connector), echo }
    }
}

impl Service<Request<Incoming>> for Upstream {
    type Response = GatewayResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<GatewayResponse, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let Some(target) = &self.target else {
            let reply = match request.uri().path() {
                "/ws" => self.echo.answer(request),
                _ => text(StatusCode::OK, "ok\n"),
            };
            return Box::pin(async { Ok(reply) });
        };
        let sent = outgoing(request, target).map(|request| self.client.request(request));
        Box::pin(async {
            let Some(sent) = sent else {
                return Ok(text(StatusCode::BAD_GATEWAY, "the request has a bad target or Host\n"));
            };
            match sent.await {
                Ok(mut response) => {
                    remove_hop_by_hop(response.headers_mut());
                    Ok(response.map(BodyExt::boxed_unsync))
                }
                Err(_) => Ok(text(StatusCode::BAD_GATEWAY, "the upstream does not answer\n")),
            }
        })
    }
}

/// Rewrites a request for the upstream. Returns `None` if its target or host cannot be rewritten.
fn outgoing(request: Request<Incoming>, target: &Uri) -> Option<Request<Incoming>> {
    let (mut parts, body) = request.into_parts();
    if let Some(called) = parts.uri.authority() {
        // The target's host takes precedence over the header (RFC 9113, section 8.3.1; RFC 9112, section
        // 3.2.2).
        let (_, host) = called.as_str().rsplit_once('@').unwrap_or(("", called.as_str()));
        parts.headers.insert(HOST, HeaderValue::from_str(host).ok()?);
    }
    let mut uri = target.clone().into_parts();
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    uri.path_and_query = Some(format!("{}{path}", target.path().trim_end_matches('/')).parse().ok()?);
    parts.uri = Uri::from_parts(uri).ok()?;
    parts.version = Version::HTTP_11;
    remove_hop_by_hop(&mut parts.headers);
    join_cookies(&mut parts.headers);
    if let Some(peer) = parts.extensions.get::<PeerAddress>() {
        let via = HeaderValue::try_from(peer.address().ip().to_canonical().to_string()).ok()?;
        parts.headers.append(HeaderName::from_static("x-forwarded-for"), via);
    }
    Some(Request::from_parts(parts, body))
}

/// Joins cookie lines: HTTP/2 may split them, HTTP/1.1 may not (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Removes the headers that concern a single connection (RFC 9110, section 7.6.1).
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    const ONE_HOP: [&str; 7] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named = values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    let named: Vec<HeaderName> = named.collect();
    for name in named.iter().map(HeaderName::as_str).chain(ONE_HOP) {
        headers.remove(name);
    }
}

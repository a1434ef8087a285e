//! The service behind the limit: an upstream server, or an answer or a WebSocket of our own.

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

use crate::echo::Echo;
use crate::response::{GatewayResponse, text};

/// Passes requests on to a server, or answers them "ok" if there is none.
#[derive(Clone)]
pub(crate) struct Upstream {
    target: Option<Uri>,
    client: Client<HttpConnector, Incoming>,
    /// The WebSocket that answers in its place.
    pub(crate) echo: Echo,
}

impl Upstream {
    /// `target` has a scheme and an authority; its path is put in front of that of each request.
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
                return Ok(text(StatusCode::BAD_GATEWAY, "the target is no address\n"));
            };
            match sent.await {
                Ok(mut response) => {
                    end_to_end(response.headers_mut());
                    Ok(response.map(BodyExt::boxed_unsync))
                }
                Err(_) => Ok(text(StatusCode::BAD_GATEWAY, "the upstream does not answer\n")),
            }
        })
    }
}

/// The request as the upstream is to see it.
fn outgoing(request: Request<Incoming>, target: &Uri) -> Option<Request<Incoming>> {
    let (mut parts, body) = request.into_parts();
    if let Some(called) = parts.uri.authority() {
        // Whom the target names is called, whatever the header says (RFC 9113, section 8.3.1; RFC 9112, section 3.2.2).
        let (_, host) = called.as_str().rsplit_once('@').unwrap_or(("", called.as_str()));
        parts.headers.insert(HOST, HeaderValue::from_str(host).ok()?);
    }
    let mut uri = target.clone().into_parts();
    let asked = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    uri.path_and_query = Some(format!("{}{asked}", target.path().trim_end_matches('/')).parse().ok()?);
    parts.uri = Uri::from_parts(uri).ok()?;
    parts.version = Version::HTTP_11;
    end_to_end(&mut parts.headers);
    in_one_line(&mut parts.headers);
    if let Some(peer) = parts.extensions.get::<PeerAddress>() {
        let via = HeaderValue::try_from(peer.address().ip().to_canonical().to_string()).ok()?;
        parts.headers.append(HeaderName::from_static("x-forwarded-for"), via);
    }
    Some(Request::from_parts(parts, body))
}

/// Joins the cookies, which HTTP/2 may send each by itself and HTTP/1.1 may not (RFC 9113, section 8.2.3).
fn in_one_line(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Takes out what concerns only one connection (RFC 9110, section 7.6.1).
fn end_to_end(headers: &mut HeaderMap) {
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

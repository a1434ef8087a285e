//! The service behind the throttles: an upstream server, or a fixed response and a WebSocket without one.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body as _;
use http_body_util::{BodyExt, Either, Empty};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::watch::Sender;
use traffik::runtime::{Runtime, Tokio};
use traffik::storage::BoxFuture;
use traffik::web::PeerAddress;

use super::connector::{Connector, UpstreamVersion, connector};
use super::fields::{self, IdentityFields};
use super::streams::{PatientBody, UploadProgress, WatchedBody};
use super::tunnel::Tunnel;
use crate::config::options::Options;
use crate::limits::keys::KeySpec;
use crate::limits::plan::{CommonSettings, ThrottlePlan};
use crate::proxy::echo::Echo;
use crate::proxy::received::Received;
use crate::response::{GatewayResponse, text};

/// Times that a request is sent again on another connection, where that cannot have an effect twice.
const RETRIES: usize = 2;

/// Interval of pings on a connection of HTTP/2 with requests, and the time to answer one.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// The longest times that one side may stand still.
#[derive(Clone, Copy)]
struct Times {
    /// Until the head of the response, once the upstream has the request.
    head: Duration,
    /// Until the client's next part of a body.
    request_body: Duration,
    /// Until the upstream's next part of a body.
    response_body: Duration,
}

/// The body of a request to the upstream. A request without a body can be sent again.
type OutgoingBody = Either<WatchedBody, Empty<Bytes>>;

/// The service that forwards requests to a server, or answers 200 "ok" without one.
#[derive(Clone)]
pub(crate) struct Upstream {
    /// Has a scheme and an authority; its path is prepended to that of each request.
    target: Option<Uri>,
    version: UpstreamVersion,
    client: Client<Connector, OutgoingBody>,
    times: Times,
    identity: IdentityFields,
    /// Ends the tunnels.
    end: Sender<bool>,
    /// The WebSocket at `/ws`, served without an upstream only.
    pub(crate) echo: Echo,
}

impl Upstream {
    /// Creates the service of the options. `end` ends the tunnels.
    ///
    /// # Errors
    ///
    /// Fails if the upstream needs root certificates, and there are none.
    pub(crate) fn new(
        options: &Options,
        common: &CommonSettings,
        end: Sender<bool>,
        echo: Echo,
    ) -> Result<Self, String> {
        let proxy = &options.proxy;
        let (version, target) = match &proxy.upstream {
            Some(url) => {
                let (version, target) = UpstreamVersion::of(url);
                (version, Some(target))
            }
            None => (UpstreamVersion::Http1, None),
        };
        let connector = connector(target.as_ref(), version, proxy.upstream_connect_timeout.0)?;
        let mut client = Client::builder(TokioExecutor::new());
        client.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
        client.http2_only(version == UpstreamVersion::Http2);
        // One connection has all requests, so its loss must be noticed before the next of them waits for it.
        client.http2_keep_alive_interval(Some(KEEP_ALIVE.0)).http2_keep_alive_timeout(KEEP_ALIVE.1);
        let client = client.build(connector);
        let classes = [&options.tier_header, &options.priority_header, &options.region_header];
        let identity = IdentityFields {
            trusted: common.trusted.clone(),
            classes: classes.into_iter().flatten().cloned().collect(),
            addresses: Vec::new(),
            trusts_classes: options.trust_class_headers,
        };
        let times = Times {
            head: proxy.upstream_timeout.0,
            request_body: proxy.body_timeout.0,
            response_body: proxy.idle_timeout.0,
        };
        Ok(Self { target, version, client, times, identity, end, echo })
    }

    /// Returns the same service for the keys of these throttles: a field that one of them reads a client's
    /// address from is removed from requests of strangers.
    pub(crate) fn before(&self, plans: &[ThrottlePlan]) -> Self {
        let mut upstream = self.clone();
        let keys = plans.iter().flat_map(|plan| &plan.keys);
        upstream.identity.addresses = keys.filter_map(KeySpec::address_header).collect();
        upstream
    }

    /// Rewrites a request for the upstream. Returns `None` if its target cannot be rewritten.
    fn outgoing(
        &self,
        request: Request<Incoming>,
        target: &Uri,
    ) -> Option<(Request<Incoming>, Option<Tunnel>)> {
        let mut request = request;
        // HTTP/2 has no upgrades.
        let is_http1 = self.version == UpstreamVersion::Http1;
        let protocol =
            fields::upgrade(request.headers()).filter(|_| is_http1 && request.version() == Version::HTTP_11);
        let tunnel = protocol.as_ref().map(|_| Tunnel::of(&mut request, self.end.subscribe()));
        let (mut parts, body) = request.into_parts();
        if let Some(called) = parts.uri.authority() {
            // The target's host takes precedence over the header (RFC 9113, section 8.3.1; RFC 9112, section
            // 3.2.2).
            let (_, host) = called.as_str().rsplit_once('@').unwrap_or(("", called.as_str()));
            parts.headers.insert(HOST, HeaderValue::from_str(host).ok()?);
        }
        let mut uri = target.clone().into_parts();
        let base = target.path().trim_end_matches('/');
        let path = match parts.uri.path_and_query().map_or("/", PathAndQuery::as_str) {
            // The server as a whole is what lies below the base path.
            "*" if !base.is_empty() => "/",
            path => path,
        };
        uri.path_and_query = Some(format!("{base}{path}").parse().ok()?);
        parts.uri = Uri::from_parts(uri).ok()?;
        parts.version = if is_http1 { Version::HTTP_11 } else { Version::HTTP_2 };
        self.identity.remove_hop_by_hop(&mut parts.headers, self.version);
        fields::join_cookies(&mut parts.headers);
        if let Some(peer) = parts.extensions.get::<PeerAddress>() {
            let scheme = parts.extensions.get().map_or("http", |received: &Received| received.scheme());
            self.identity.write(&mut parts.headers, peer.address().ip(), scheme);
        }
        if !is_http1 {
            // The URL names the server, and a field that contradicts it is refused (RFC 9113, section 8.3.1).
            parts.headers.remove(HOST);
        }
        if let Some(protocol) = protocol {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(UPGRADE, protocol);
        }
        Some((Request::from_parts(parts, body), tunnel))
    }
}

/// Sends a request, and sends it again if the connection had been closed meanwhile and the request has no
/// effect that could happen twice.
async fn send(
    client: Client<Connector, OutgoingBody>,
    request: Request<WatchedBody>,
    is_repeatable: bool,
) -> Result<Response<Incoming>, Error> {
    // The client itself sends again what was not written at all.
    if !is_repeatable {
        return client.request(request.map(Either::Left)).await;
    }
    let request = request.map(|_| Empty::new());
    let mut tries = 0;
    loop {
        match client.request(request.clone().map(Either::Right)).await {
            Err(error) if tries < RETRIES && !error.is_connect() => tries += 1,
            sent => return sent,
        }
    }
}

/// Reports whether a request can be sent twice: its method is idempotent, and it has no body.
fn is_repeatable(request: &Request<Incoming>) -> bool {
    let idempotent = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];
    idempotent.contains(request.method())
        && request.body().is_end_stream()
        && !request.headers().contains_key(UPGRADE)
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
        let Some((request, tunnel)) = self.outgoing(request, target) else {
            let reply =
                text(StatusCode::BAD_GATEWAY, "the request has a target that the upstream cannot serve\n");
            return Box::pin(async { Ok(reply) });
        };
        let (is_repeatable, times) = (is_repeatable(&request), self.times);
        let (parts, body) = request.into_parts();
        let (body, progress) = WatchedBody::new(body);
        let sent = send(self.client.clone(), Request::from_parts(parts, body), is_repeatable);
        Box::pin(async move {
            Ok(match answered(sent, &progress, times).await {
                Ok(response) => incoming(response, tunnel, times),
                Err(reply) => reply,
            })
        })
    }
}

/// Waits for the head of the response as long as neither side stands still. Returns the reply to the
/// client if there is none.
async fn answered(
    sent: impl Future<Output = Result<Response<Incoming>, Error>> + Send,
    progress: &UploadProgress,
    times: Times,
) -> Result<Response<Incoming>, GatewayResponse> {
    let mut sent = pin!(sent);
    loop {
        let before = progress.look();
        let (_, has_ended) = before;
        let within = if has_ended { times.head } else { times.request_body };
        match Tokio.timeout(within, sent.as_mut()).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(_)) if progress.has_failed() => {
                return Err(text(StatusCode::BAD_REQUEST, "the body of the request broke off\n"));
            }
            Ok(Err(_)) => return Err(text(StatusCode::BAD_GATEWAY, "the upstream does not answer\n")),
            // A part came meanwhile: an upload may take as long as it moves.
            Err(_) if progress.look() != before => {}
            Err(_) if !has_ended && progress.waits_for_client() => {
                let reply = format!("no part of the body came within {within:?}\n");
                return Err(text(StatusCode::REQUEST_TIMEOUT, reply));
            }
            Err(_) => {
                let reply = format!("the upstream did not answer within {within:?}\n");
                return Err(text(StatusCode::GATEWAY_TIMEOUT, reply));
            }
        }
    }
}

/// Rewrites a response of the upstream for the client, and opens the tunnel that both have agreed on.
fn incoming(mut response: Response<Incoming>, tunnel: Option<Tunnel>, times: Times) -> GatewayResponse {
    let protocol = fields::upgrade(response.headers());
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    match tunnel.filter(|_| switched) {
        Some(tunnel) => tunnel.open(&mut response),
        // The client did not ask for another protocol, and would read the upstream's bytes as responses.
        None if switched => {
            return text(StatusCode::BAD_GATEWAY, "the upstream changed the protocol unasked\n");
        }
        None => {}
    }
    fields::remove_hop_by_hop_of_response(response.headers_mut());
    if let (true, Some(protocol)) = (switched, protocol) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(UPGRADE, protocol);
    }
    // The version is that of the connection to the client, not that of the upstream (RFC 9110, section 2.5).
    *response.version_mut() = Version::HTTP_11;
    response.map(|body| PatientBody::new(body, times.response_body).boxed_unsync())
}

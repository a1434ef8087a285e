//! Refuses requests that servers read differently, so that the limited path and host are also the served
//! ones.

use http::header::{ALLOW, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{Method, Request, StatusCode, Uri, Version};

use crate::response::{GatewayResponse, text};

/// Returns the response that refuses a request, or `None` to accept it.
pub(crate) fn refused<B>(request: &Request<B>) -> Option<GatewayResponse> {
    if request.method() == Method::CONNECT {
        let mut reply = text(StatusCode::METHOD_NOT_ALLOWED, "this is no proxy for CONNECT\n");
        let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        reply.headers_mut().insert(ALLOW, methods);
        return Some(reply);
    }
    let reason = star_refusal(request)
        .or_else(|| refusal(request.uri()))
        .or_else(|| host_refusal(request))
        .or_else(|| coding_refusal(request))?;
    Some(text(StatusCode::BAD_REQUEST, format!("{reason}\n")))
}

/// Returns the reason to refuse the target `*`, or `None` to accept it (RFC 9112, section 3.2.4).
fn star_refusal<B>(request: &Request<B>) -> Option<&'static str> {
    let is_star = request.uri().path() == "*" && request.method() != Method::OPTIONS;
    is_star.then_some("the target * is for OPTIONS alone")
}

/// Returns the reason to refuse the host of a request, or `None` to accept it (RFC 9112, section 3.2).
fn host_refusal<B>(request: &Request<B>) -> Option<&'static str> {
    let mut lines = request.headers().get_all(HOST).iter();
    let (first, second) = (lines.next(), lines.next());
    if second.is_some() {
        return Some("the request has more than one Host");
    }
    let Some(host) = first else {
        // HTTP/2 names the host in the target, and HTTP/1.0 knows none.
        let is_named = request.uri().authority().is_some() || request.version() == Version::HTTP_10;
        return (!is_named).then_some("the request has no Host");
    };
    let host: Option<Authority> = host.to_str().ok().and_then(|host| host.parse().ok());
    let is_host = |host: &Authority| {
        let after = host.as_str().strip_prefix(host.host());
        let is_port = after.is_some_and(|port| port.is_empty() || host.port_u16().is_some());
        is_port && !host.host().is_empty() && !host.as_str().contains(['@', ','])
    };
    let Some(host) = host.filter(is_host) else {
        return Some("the Host is not a name and a port");
    };
    // In HTTP/1.1 the target takes precedence; in HTTP/2 both must be equal (RFC 9113, section 8.3.1).
    let differs = request.uri().authority().is_some_and(|called| *called != host);
    (differs && request.version() == Version::HTTP_2).then_some("the Host differs from the :authority")
}

/// Returns the reason to refuse the transfer coding of a request, or `None` to accept it. Any coding but
/// `chunked` would be lost, since it concerns a single connection.
fn coding_refusal<B>(request: &Request<B>) -> Option<&'static str> {
    let mut lines = request.headers().get_all(TRANSFER_ENCODING).iter();
    let is_chunked = lines.next()?.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    (!is_chunked || lines.next().is_some())
        .then_some("the only transfer coding that is understood is chunked")
}

/// Returns the reason to refuse a target, or `None` to accept it.
pub(crate) fn refusal(uri: &Uri) -> Option<&'static str> {
    let path = uri.path();
    if !path.starts_with(['/', '*']) {
        return Some("the path does not begin with a slash");
    }
    // Most targets end here, without an allocation.
    if !path.contains(['%', '\\']) && !path.contains("/.") {
        return None;
    }
    let lower = path.to_ascii_lowercase();
    if ["%2f", "%5c", "\\", "%00"].iter().any(|piece| lower.contains(piece)) {
        return Some("the path holds an escaped slash, a backslash or a zero byte");
    }
    let plain = lower.replace("%2e", ".");
    let mut segments = plain.split('/').map(|segment| segment.split(';').next());
    segments
        .any(|segment| matches!(segment, Some("." | "..")))
        .then_some("the path holds a . or .. segment, which the client must resolve")
}

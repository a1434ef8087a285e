//! The access check of the admin paths. It refuses requests that a proxy forwards, and requests of other
//! sites' pages, which a browser on this machine may send.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::uri::Authority;
use http::{Request, Uri};

use crate::proxy::fields::ADDRESSES;

/// Headers that a proxy adds to a forwarded request, beside those that tell the client's address.
const FORWARDING: [&str; 4] = ["forwarded", "via", "cdn-loop", "cf-ray"];

/// Reports whether a request comes from this machine, was not forwarded, and calls this machine by its own
/// name.
///
/// A browser on this machine also sends requests of pages from other sites. Their `Origin` names the other
/// site. A site whose name was made to resolve to this machine calls it by that name, in the target or in
/// `Host`.
pub(crate) fn is_here<B>(request: &Request<B>, peer: SocketAddr) -> bool {
    let headers = request.headers();
    peer.ip().to_canonical().is_loopback()
        && !headers.keys().any(is_forwarding)
        && calls_this_machine(request.uri(), headers)
        && headers.get("sec-fetch-site").is_none_or(|site| site != "cross-site")
        && !is_of_another_site(request)
}

/// Reports whether a page of another site sent the request: its `Origin` is not the host that it calls.
pub(crate) fn is_of_another_site<B>(request: &Request<B>) -> bool {
    let called = called(request.uri(), request.headers());
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let origin = origin.and_then(|(_, site)| site.parse::<Authority>().ok());
        origin.is_some() && origin == called
    };
    request.headers().get_all(ORIGIN).iter().any(|origin| !is_own(origin))
}

fn is_forwarding(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || FORWARDING.contains(&name) || ADDRESSES.contains(&name)
}

/// Reports whether the target and every `Host` line name this machine by `localhost` or a loopback address,
/// which no DNS answer can change.
fn calls_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    let is_here = |authority: &Authority| {
        let host = authority.host();
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        address || host.eq_ignore_ascii_case("localhost")
    };
    let target = uri.authority().cloned().map(Some);
    let lines = headers.get_all(HOST).iter().map(|line| line.to_str().ok()?.parse::<Authority>().ok());
    let mut called = target.into_iter().chain(lines).peekable();
    called.peek().is_some() && called.all(|authority| authority.is_some_and(|authority| is_here(&authority)))
}

/// Returns the host that a request calls, from the target or from `Host`.
fn called(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    let header = || headers.get(HOST)?.to_str().ok()?.parse().ok();
    uri.authority().cloned().or_else(header)
}

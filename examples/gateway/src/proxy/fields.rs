//! The fields of requests and responses that pass through the proxy.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    TE, UPGRADE,
};
use traffik::web::Networks;

use super::connector::UpstreamVersion;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields in which proxies and CDNs write the client's address, beside those of `X-Forwarded-`.
pub(crate) const ADDRESSES: [&str; 11] = [
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-azure-clientip",
    "x-appengine-user-ip",
    "x-original-forwarded-for",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
];

/// Fields in which proxies write the target that a client asked for; some servers serve it instead.
const TARGETS: [&str; 2] = ["x-original-url", "x-rewrite-url"];

/// The fields that say who sent a request, and which senders are believed.
#[derive(Clone, Debug)]
pub(crate) struct IdentityFields {
    /// The proxies whose fields are believed.
    pub(crate) trusted: Networks,
    /// The fields of classes.
    pub(crate) classes: Vec<HeaderName>,
    /// The fields that the keys of throttles read a client's address from, beside [`ADDRESSES`].
    pub(crate) addresses: Vec<HeaderName>,
    /// Whether the classes of strangers are believed, too; otherwise they are removed.
    pub(crate) trusts_classes: bool,
}

impl IdentityFields {
    /// Writes one line of each `X-Forwarded-` field. Appends to those of a trusted proxy; replaces those of
    /// anybody else, and removes all other fields that would tell the upstream about the client.
    pub(crate) fn write(&self, headers: &mut HeaderMap, peer: IpAddr, scheme: &str) {
        let peer = peer.to_canonical();
        let is_trusted = self.trusted.contains(peer);
        // No proxy writes an underscore, which servers of CGI and WSGI read as a hyphen.
        let is_configured = |name: &HeaderName| self.classes.contains(name) || self.addresses.contains(name);
        let is_removed = |name: &&HeaderName| match name.as_str().contains('_') && !is_configured(name) {
            true => self.is_identity(&name.as_str().replace('_', "-")),
            false => !is_trusted && self.is_identity(name.as_str()),
        };
        let removed: Vec<HeaderName> = headers.keys().filter(is_removed).cloned().collect();
        for name in removed {
            headers.remove(name);
        }
        let known = |headers: &HeaderMap, name: &HeaderName| -> Option<Vec<u8>> {
            let lines: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            (is_trusted && !lines.is_empty()).then(|| lines.join(&b", "[..]))
        };
        let mut clients = known(headers, &FORWARDED_FOR).unwrap_or_default();
        if !clients.is_empty() {
            clients.extend(b", ");
        }
        clients.extend(peer.to_string().bytes());
        let scheme = known(headers, &FORWARDED_PROTO).unwrap_or_else(|| scheme.as_bytes().to_vec());
        let host = known(headers, &FORWARDED_HOST)
            .or_else(|| headers.get(HOST).map(|host| host.as_bytes().to_vec()));
        let lines = [(FORWARDED_FOR, Some(clients)), (FORWARDED_PROTO, Some(scheme)), (FORWARDED_HOST, host)];
        for (name, line) in lines {
            // The parts were header values, and so is what they make.
            match line.and_then(|line| HeaderValue::from_bytes(&line).ok()) {
                Some(line) => headers.insert(name, line),
                None => headers.remove(name),
            };
        }
    }

    /// Reports whether a field tells who sent a request, or a target that nobody has checked, so that only a
    /// proxy may write it. Those that begin with `x-forwarded` also tell a port, a path or a server.
    fn is_identity(&self, name: &str) -> bool {
        let mut classes = self.classes.iter().filter(|_| !self.trusts_classes);
        let is_it = |known: &HeaderName| known.as_str().replace('_', "-") == name;
        name.starts_with("x-forwarded")
            || FORWARDED == name
            || ADDRESSES.contains(&name)
            || TARGETS.contains(&name)
            || classes.any(|known| known.as_str() == name || is_it(known))
            || self.addresses.iter().any(|known| known.as_str() == name || is_it(known))
    }

    /// Reports whether `Connection` may not remove a field: the upstream would miss who sent the request, or
    /// where it ends.
    fn is_kept(&self, name: &HeaderName) -> bool {
        let is_known = [HOST, CONTENT_LENGTH, AUTHORIZATION, COOKIE, FORWARDED].contains(name);
        is_known
            || name.as_str().starts_with("x-forwarded-")
            || ADDRESSES.contains(&name.as_str())
            || self.classes.contains(name)
            || self.addresses.contains(name)
    }

    /// Removes the fields of a request that concern a single connection. For HTTP/2, a client's word that it
    /// takes trailers stays: gRPC asks for it (RFC 9113, section 8.2.2).
    pub(crate) fn remove_hop_by_hop(&self, headers: &mut HeaderMap, version: UpstreamVersion) {
        let codings = headers.get_all(TE).iter().filter_map(|line| line.to_str().ok());
        let takes_trailers =
            codings.flat_map(|line| line.split(',')).any(|it| it.trim().eq_ignore_ascii_case("trailers"));
        remove_hop_by_hop(headers, |name| !self.is_kept(name));
        if takes_trailers && version == UpstreamVersion::Http2 {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Removes the fields of a response that concern a single connection.
pub(crate) fn remove_hop_by_hop_of_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers, |name| *name != CONTENT_LENGTH);
}

/// Removes the fields that concern a single connection (RFC 9110, section 7.6.1), also those that
/// `Connection` names, if they may be removed.
fn remove_hop_by_hop(headers: &mut HeaderMap, may_remove: impl Fn(&HeaderName) -> bool) {
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
    let named: Vec<HeaderName> = named.filter(&may_remove).collect();
    for name in named.iter().map(HeaderName::as_str).chain(ONE_HOP) {
        headers.remove(name);
    }
}

/// Returns the protocol that a message upgrades to, if its `Connection` says so.
///
/// Another version of HTTP and TLS are left out, which a server may ignore: requests within them would
/// pass the limits unseen.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(','));
    let upgrades = names.any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    let mut protocols = headers.get_all(UPGRADE).iter();
    let protocol = protocols.next().filter(|_| upgrades && protocols.next().is_none())?;
    let name = protocol.to_str().ok()?.trim().to_ascii_lowercase();
    let hides_requests = ["h2", "http", "tls"].iter().any(|start| name.starts_with(start));
    (!hides_requests && !name.contains(',')).then(|| protocol.clone())
}

/// Joins cookie lines: HTTP/2 may split them, HTTP/1.1 may not (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

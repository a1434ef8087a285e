//! By the address of the client, behind proxies of one's own.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName, HeaderValue};

use super::address::{ForwardedClient, address, client};
use super::forwarded::Hops;
use super::{Identify, Identity, Networks, Peer, PeerAddress, RequestParts};

#[cfg(test)]
mod tests;

/// The header in which one's proxies tell who the client is.
///
/// No other one is read: a client can send it, and a proxy that does not write it passes it on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: each proxy appends the address it was called from.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239, to which each proxy appends as well.
    Forwarded,
    /// `X-Real-IP`, of nginx and others.
    XRealIp,
    /// `CF-Connecting-IP`, of Cloudflare.
    CfConnectingIp,
    /// `True-ForwardedClient-IP`, of Akamai and Cloudflare.
    TrueClientIp,
    /// `Fly-ForwardedClient-IP`, of Fly.io.
    FlyClientIp,
    /// Another header that holds one address, written by the proxy next to us. Like the four before it, a
    /// proxy that merely passes it on lets clients choose how they are counted.
    Header(HeaderName),
}

impl ForwardedHeader {
    /// The name of a header that holds one address.
    fn single(&self) -> Option<HeaderName> {
        Some(match self {
            Self::XForwardedFor | Self::Forwarded => return None,
            Self::XRealIp => HeaderName::from_static("x-real-ip"),
            Self::CfConnectingIp => HeaderName::from_static("cf-connecting-ip"),
            Self::TrueClientIp => HeaderName::from_static("true-client-ip"),
            Self::FlyClientIp => HeaderName::from_static("fly-client-ip"),
            Self::Header(name) => name.clone(),
        })
    }
}

/// Counts by the address of the client, as trusted proxies tell it; [`Peer`] says how addresses are counted.
///
/// * A peer that is not trusted is the client, whatever its headers say.
/// * Else the addresses that were passed on are gone through from the nearest one on, past all that are
///   trusted: the first other one is the client; if all are trusted, the farthest.
/// * Where something else than an address was passed on, the one that passed it on is the client.
///
/// ```
/// use traffik::web::{ClientAddress, Networks, PeerAddress, ForwardedHeader};
///
/// let behind_proxies = ClientAddress::new(Networks::parse(["10.0.0.0/8"])?, ForwardedHeader::XForwardedFor);
/// let mut request = http::Request::builder().header("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9").body(())?;
/// request.extensions_mut().insert(PeerAddress::new("10.0.0.1:443".parse()?));
/// assert_eq!(behind_proxies.of((&request).into()), Some("192.0.2.7".parse()?));
///
/// request.extensions_mut().insert(PeerAddress::new("198.51.100.2:443".parse()?)); // not a proxy of ours
/// assert_eq!(behind_proxies.of((&request).into()), Some("198.51.100.2".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientAddress {
    trusted: Networks,
    via: ForwardedHeader,
    peer: Peer,
}

impl ClientAddress {
    /// Behind proxies in `trusted` networks that write this header.
    #[must_use]
    pub fn new(trusted: Networks, via: ForwardedHeader) -> Self {
        Self { trusted, via, peer: Peer::default() }
    }

    /// Counts addresses so, instead of IPv6 by /64.
    #[must_use]
    pub const fn counted(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }

    /// The address of the client; `None` if even the peer's is not known.
    ///
    /// It is whom to count a request for, and no ground for a privilege: see [`is_in`](Self::is_in).
    #[must_use]
    pub fn of(&self, request: RequestParts<'_>) -> Option<IpAddr> {
        self.client(request).map(|client| client.address)
    }

    /// Whether the client is known to be in one of these networks, so that it may be let do what others may
    /// not.
    ///
    /// It is not where something else than an address was passed on: then a proxy is counted for a client
    /// that is not known.
    ///
    /// ```
    /// use traffik::web::{ClientAddress, Networks, PeerAddress, ForwardedHeader};
    ///
    /// let (proxies, inside) = (Networks::parse(["10.0.0.1"])?, Networks::parse(["10.0.0.0/8"])?);
    /// let client = ClientAddress::new(proxies, ForwardedHeader::XForwardedFor);
    /// let from = |list: &str| {
    ///     let mut request = http::Request::builder().header("x-forwarded-for", list).body(()).unwrap();
    ///     request.extensions_mut().insert(PeerAddress::new(([10, 0, 0, 1], 443).into()));
    ///     request
    /// };
    /// assert!(client.is_in(&inside, (&from("10.0.0.7")).into()));
    /// assert!(!client.is_in(&inside, (&from("192.0.2.7")).into()));
    /// assert!(!client.is_in(&inside, (&from("unknown")).into())); // though it is counted for 10.0.0.1
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_in(&self, networks: &Networks, request: RequestParts<'_>) -> bool {
        self.client(request).is_some_and(|it| it.is_known && networks.contains(it.address))
    }

    /// Whom a header says the request is for.
    fn client(&self, request: RequestParts<'_>) -> Option<ForwardedClient> {
        let peer = PeerAddress::of(request.extensions)?.address().ip().to_canonical();
        if !self.trusted.contains(peer) {
            return Some(ForwardedClient { address: peer, is_known: true });
        }
        let trusted = |address| self.trusted.contains(address);
        Some(match (self.via.single(), &self.via) {
            (Some(header), _) => only(peer, request, header),
            (None, ForwardedHeader::Forwarded) => client(peer, forwarded(request), trusted),
            (None, _) => client(peer, x_forwarded_for(request), trusted),
        })
    }
}

impl Identify for ClientAddress {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        self.of(request).map_or_else(|| self.peer.unknown(), |address| self.peer.of(address))
    }
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The lines of a header, the last one first. They need not be text: what a client wrote hides nothing that
/// stands after it.
fn lines(request: RequestParts<'_>, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    request.headers.get_all(name).into_iter().rev().map(HeaderValue::as_bytes)
}

/// All lines are one list.
fn x_forwarded_for(request: RequestParts<'_>) -> impl Iterator<Item = Option<IpAddr>> {
    let entries = lines(request, X_FORWARDED_FOR).flat_map(|line| line.rsplit(|byte| *byte == b','));
    entries.filter(|entry| !entry.trim_ascii().is_empty()).map(address)
}

fn forwarded(request: RequestParts<'_>) -> impl Iterator<Item = Option<IpAddr>> {
    lines(request, FORWARDED).flat_map(Hops::of)
}

/// The address that a header holds, written once; else the proxy next to us is the client.
fn only(peer: IpAddr, request: RequestParts<'_>, header: HeaderName) -> ForwardedClient {
    let mut lines = lines(request, header);
    match (lines.next(), lines.next()) {
        (None, _) => ForwardedClient { address: peer, is_known: true },
        (Some(line), None) => {
            address(line).map_or(ForwardedClient { address: peer, is_known: false }, |address| {
                ForwardedClient { address, is_known: true }
            })
        }
        (Some(_), Some(_)) => ForwardedClient { address: peer, is_known: false },
    }
}

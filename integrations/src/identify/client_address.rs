//! The identifier by the address of the client, behind trusted proxies.

use std::net::IpAddr;

use http::header::{FORWARDED, HeaderName, HeaderValue};

use super::address::{ForwardedClient, address, client};
use super::forwarded::Hops;
use super::{Identify, Identity, Networks, Peer, PeerAddress, RequestParts};

#[cfg(test)]
mod tests;

/// The header in which trusted proxies pass on the address of the client.
///
/// Choose the one that your proxies write. [`ClientAddress`] reads no other header: clients can send any
/// header, and a proxy passes on the headers that it does not write.
///
/// ```
/// use traffik::web::{ClientAddress, ForwardedHeader, Networks};
///
/// let behind_nginx = ClientAddress::new(Networks::parse(["10.0.0.1"])?, ForwardedHeader::XRealIp);
/// let behind_custom = ForwardedHeader::Header("x-client-ip".parse()?);
/// # let _ = (behind_nginx, behind_custom);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: each proxy appends the address it was called from.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239: each proxy appends an element.
    Forwarded,
    /// `X-Real-IP`, of nginx and others.
    XRealIp,
    /// `CF-Connecting-IP`, of Cloudflare.
    CfConnectingIp,
    /// `True-Client-IP`, of Akamai and Cloudflare.
    TrueClientIp,
    /// `Fly-Client-IP`, of Fly.io.
    FlyClientIp,
    /// Another header with one address, written by the proxy in front of the server. As with the four headers
    /// above, a proxy that only passes the header on lets clients choose their identity.
    Header(HeaderName),
}

impl ForwardedHeader {
    /// Returns the name of a header that holds one address.
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

/// Identifies clients by their address, as trusted proxies report it.
///
/// Choose it behind a reverse proxy or a CDN; without one, [`Peer`] is enough. [`Peer`] also defines how
/// addresses are counted.
///
/// ```
/// use traffik::web::{ClientAddress, Networks, PeerAddress, ForwardedHeader};
///
/// let proxies = Networks::parse(["10.0.0.0/8"])?;
/// let behind_proxies = ClientAddress::new(proxies, ForwardedHeader::XForwardedFor);
/// let list = "6.6.6.6, 192.0.2.7, 10.0.0.9";
/// let mut request = http::Request::builder().header("x-forwarded-for", list).body(())?;
/// request.extensions_mut().insert(PeerAddress::new("10.0.0.1:443".parse()?));
/// assert_eq!(behind_proxies.of((&request).into()), Some("192.0.2.7".parse()?));
///
/// request.extensions_mut().insert(PeerAddress::new("198.51.100.2:443".parse()?)); // not a proxy of ours
/// assert_eq!(behind_proxies.of((&request).into()), Some("198.51.100.2".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// * A peer outside the trusted networks is the client, whatever its headers contain.
/// * Otherwise the addresses are read from the nearest on. The first one outside the trusted networks is the
///   client. If all are trusted, the farthest is the client.
/// * If an entry is not an address, the proxy that passed it on counts as the client.
#[derive(Clone, Debug)]
pub struct ClientAddress {
    trusted: Networks,
    via: ForwardedHeader,
    peer: Peer,
}

impl ClientAddress {
    /// Returns an identifier of clients behind proxies in the `trusted` networks, which write this header.
    #[must_use]
    pub fn new(trusted: Networks, via: ForwardedHeader) -> Self {
        Self { trusted, via, peer: Peer::default() }
    }

    /// Counts addresses as this [`Peer`] does, for instance by another IPv6 prefix. Defaults to IPv6 by /64.
    #[must_use]
    pub const fn counted(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }

    /// Returns the address of the client; `None` if not even the peer's address is known.
    ///
    /// Count by this address, but grant no privilege by it: see [`is_in`](Self::is_in).
    #[must_use]
    pub fn of(&self, request: RequestParts<'_>) -> Option<IpAddr> {
        self.client(request).map(|client| client.address)
    }

    /// Reports whether the client is certainly in one of these networks, so that a privilege may depend on
    /// it.
    ///
    /// Returns false if an entry is not an address: requests then count for a proxy, and the client is
    /// unknown.
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
    /// assert!(!client.is_in(&inside, (&from("unknown")).into())); // counted for the proxy 10.0.0.1
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_in(&self, networks: &Networks, request: RequestParts<'_>) -> bool {
        self.client(request).is_some_and(|it| it.is_known && networks.contains(it.address))
    }

    /// Returns the client of a request.
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

/// Yields the lines of a header as bytes, the last one first. They need not be text: otherwise a client could
/// hide a proxy's entries by bytes that are not.
fn lines(request: RequestParts<'_>, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    request.headers.get_all(name).into_iter().rev().map(HeaderValue::as_bytes)
}

/// Yields the entries of all lines, which form one list, the last one first.
fn x_forwarded_for(request: RequestParts<'_>) -> impl Iterator<Item = Option<IpAddr>> {
    let entries = lines(request, X_FORWARDED_FOR).flat_map(|line| line.rsplit(|byte| *byte == b','));
    entries.filter(|entry| !entry.trim_ascii().is_empty()).map(address)
}

fn forwarded(request: RequestParts<'_>) -> impl Iterator<Item = Option<IpAddr>> {
    lines(request, FORWARDED).flat_map(Hops::of)
}

/// Returns the address in a header with one value. If that is missing, repeated or no address, the proxy in
/// front counts as the client.
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

//! The identifier by the address at the other end of the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Once, PoisonError, RwLock};

use http::{Extensions, StatusCode};

use super::{Identify, Identity, RequestParts};
use crate::http::request::Refusal;
use crate::http::server::peer_from_server;
use crate::log;

/// The address of the peer, which a server inserts into the extensions of each request.
///
/// Insert it where a hyper server accepts connections; hyper itself does not know the address. Axum's
/// `ConnectInfo` counts as well if the server uses `into_make_service_with_connect_info::<SocketAddr>()`
/// (feature `axum`). So do tonic's `TcpConnectInfo` and `TlsConnectInfo` (feature `tonic`). For other
/// servers see [`also_found_by`](Self::also_found_by).
///
/// ```
/// use traffik::web::PeerAddress;
///
/// let peer = ([192, 0, 2, 1], 50_000).into(); // from `listener.accept()`
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(PeerAddress::new(peer));
/// assert_eq!(PeerAddress::of(request.extensions()).unwrap().address(), peer);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(SocketAddr);

impl PeerAddress {
    /// Returns the peer at this address and port.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Returns the address with its port.
    #[must_use]
    pub const fn address(self) -> SocketAddr {
        self.0
    }

    /// Returns the peer of a request with these extensions, if the server has inserted it.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let elsewhere = || peer_from_server(extensions).or_else(|| found_elsewhere(extensions)).map(Self);
        extensions.get().copied().or_else(elsewhere)
    }

    /// Adds a function that finds the address, for all throttles of the process.
    ///
    /// The function is called if the extensions hold the address in no type that traffik knows. Add it once,
    /// at the start of a program whose server inserts another type:
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use traffik::web::PeerAddress;
    ///
    /// /// The type in which a server notes the connection of a request.
    /// #[derive(Clone)]
    /// struct Connection(SocketAddr);
    ///
    /// PeerAddress::also_found_by(|extensions| Some(extensions.get::<Connection>()?.0));
    /// # let mut request = http::Request::new(());
    /// # request.extensions_mut().insert(Connection(([192, 0, 2, 1], 80).into()));
    /// # assert_eq!(PeerAddress::of(request.extensions()).unwrap().address().port(), 80);
    /// ```
    pub fn also_found_by(find: fn(&Extensions) -> Option<SocketAddr>) {
        ELSEWHERE.write().unwrap_or_else(PoisonError::into_inner).push(find);
    }
}

/// The functions that find an address in a type of the user.
static ELSEWHERE: RwLock<Vec<fn(&Extensions) -> Option<SocketAddr>>> = RwLock::new(Vec::new());

fn found_elsewhere(extensions: &Extensions) -> Option<SocketAddr> {
    let known = ELSEWHERE.read().unwrap_or_else(PoisonError::into_inner);
    known.iter().find_map(|find| find(extensions))
}

/// Identifies clients by the address of the peer, without its port. The default of a throttle.
///
/// Choose it for servers that clients reach directly; behind proxies choose
/// [`ClientAddress`](super::ClientAddress).
///
/// ```
/// use std::net::IpAddr;
/// use traffik::web::Peer;
///
/// let of = |peer: Peer, address: &str| peer.of(address.parse::<IpAddr>().unwrap());
/// assert_eq!(of(Peer::new(), "2001:db8::1"), of(Peer::new(), "2001:db8::2")); // one /64
/// assert_ne!(of(Peer::ipv6_prefix(128), "2001:db8::1"), of(Peer::ipv6_prefix(128), "2001:db8::2"));
/// ```
///
/// An IPv4 address within an IPv6 one counts as that IPv4 address: mapped, translated by NAT64
/// (`64:ff9b::/96`), 6to4 and Teredo. Any other IPv6 address counts by its prefix, since the owner of an
/// address can usually use all addresses of its network.
///
/// A request without an address is refused with 500 and a text that names the fix; the first one of a process
/// also writes an error to the log. To count such requests together instead, under one limit, call
/// [`or_anonymous`](Self::or_anonymous).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    ipv6_prefix: u8,
    /// Whether requests without an address are anonymous instead of refused.
    or_anonymous: bool,
}

/// The text of a refusal where a server does not insert the addresses of its peers.
const UNKNOWN: &str = "the rate limiter does not know the address of the client: insert a PeerAddress into \
    the extensions of each request where connections are accepted; with axum enable the feature `axum` and \
    serve `into_make_service_with_connect_info::<SocketAddr>()`, with tonic enable the feature `tonic`; or \
    identify clients by something else than the address";

impl Default for Peer {
    /// Counts IPv6 by /64, the smallest network that providers assign.
    fn default() -> Self {
        Self::new()
    }
}

impl Peer {
    /// Counts IPv6 by /64, as [`Peer::default`] does.
    #[must_use]
    pub const fn new() -> Self {
        Self::ipv6_prefix(64)
    }

    /// Counts IPv6 addresses by their first `bits`. 128 or more is the whole address.
    #[must_use]
    pub const fn ipv6_prefix(bits: u8) -> Self {
        Self { ipv6_prefix: bits, or_anonymous: false }
    }

    /// Treats requests without an address as [anonymous](super::Anonymous) instead of refusing them.
    #[must_use]
    pub const fn or_anonymous(self) -> Self {
        Self { or_anonymous: true, ..self }
    }

    /// Returns the identity of an address.
    #[must_use]
    pub fn of(self, address: IpAddr) -> Identity {
        match address.to_canonical() {
            IpAddr::V4(address) => Identity::of(b'4', &address.octets()),
            IpAddr::V6(address) => match embedded(address) {
                Some(address) => Identity::of(b'4', &address.octets()),
                None => Identity::of(b'6', &self.prefix(address).octets()),
            },
        }
    }

    /// Returns the identity of a request without an address.
    pub(super) fn unknown(self) -> Identity {
        static FIRST: Once = Once::new();
        if self.or_anonymous {
            return Identity::anonymous();
        }
        FIRST.call_once(|| log::error(UNKNOWN));
        Identity::Refused(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, UNKNOWN))
    }

    fn prefix(self, address: Ipv6Addr) -> Ipv6Addr {
        // host_bits = 128 - ipv6_prefix low bits are cleared; a shift by all 128 leaves no bit of the mask.
        let host_bits = 128u32.saturating_sub(self.ipv6_prefix.into());
        Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0))
    }
}

impl Identify for Peer {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        match PeerAddress::of(request.extensions) {
            Some(peer) => self.of(peer.address().ip()),
            None => self.unknown(),
        }
    }
}

/// Returns the IPv4 address that an IPv6 address was made from.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let [first, second, third, fourth, fifth, sixth, ..] = address.segments();
    match (first, second) {
        // NAT64, RFC 6052: the last 32 bits.
        (0x64, 0xff9b) if [third, fourth, fifth, sixth] == [0; 4] => Some(Ipv4Addr::from_bits(bits as u32)),
        // 6to4, RFC 3056: the 32 bits after the first 16.
        (0x2002, _) => Some(Ipv4Addr::from_bits((bits >> 80) as u32)),
        // Teredo, RFC 4380: the last 32 bits are the client's address, inverted.
        (0x2001, 0) => Some(Ipv4Addr::from_bits(!(bits as u32))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: Peer, address: &str) -> Identity {
        peer.of(address.parse().unwrap())
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let peer = Peer::default();
        assert_eq!(of(peer, "::ffff:192.0.2.1"), of(peer, "192.0.2.1"));
        assert_ne!(of(peer, "192.0.2.1"), of(peer, "192.0.2.2"));
    }

    #[test]
    fn ipv6_counts_by_prefix() {
        let peer = Peer::default();
        assert_eq!(of(peer, "2001:db8::1"), of(peer, "2001:db8:0:0:ffff::2"));
        assert_ne!(of(peer, "2001:db8::1"), of(peer, "2001:db8:0:1::1"));
        assert_eq!(of(Peer::ipv6_prefix(0), "2001:db8::1"), of(Peer::ipv6_prefix(0), "fe80::1"));
        assert_ne!(of(Peer::ipv6_prefix(200), "2001:db8::1"), of(Peer::ipv6_prefix(128), "2001:db8::2"));
    }

    #[test]
    fn an_ipv4_address_within_an_ipv6_one_is_the_client() {
        let peer = Peer::default();
        for written in
            ["64:ff9b::808:808", "2002:808:808::1", "2002:808:808:ffff::", "2001:0:1:2:3:4:f7f7:f7f7"]
        {
            assert_eq!(of(peer, written), of(peer, "8.8.8.8"), "{written}");
        }
        assert_ne!(of(peer, "64:ff9b::808:808"), of(peer, "64:ff9b::909:909"));
        for written in ["64:ff9b:1::808:808", "2001:db8::808:808", "2003:808:808::1"] {
            assert_ne!(of(peer, written), of(peer, "8.8.8.8"), "{written}");
        }
    }

    #[test]
    fn a_request_without_an_address_is_refused_or_anonymous_by_name() {
        let mut request = http::Request::new(());
        let Identity::Refused(refusal) = Peer::default().identify((&request).into()) else { panic!() };
        assert_eq!(refusal.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(refusal.detail.contains("into_make_service_with_connect_info"), "{refusal}");
        assert_eq!(Peer::default().or_anonymous().identify((&request).into()), Identity::anonymous());
        request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 80).into()));
        assert_eq!(Peer::default().identify((&request).into()), of(Peer::default(), "192.0.2.1"));
    }
}

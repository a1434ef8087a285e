//! By the address at the other end of the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Once, PoisonError, RwLock};

use http::{Extensions, StatusCode};

use super::{Identify, Identity, RequestParts};
use crate::http::request::Refusal;
use crate::http::server::noted_peer;
use crate::log;

/// The address of the peer, which a server puts into the extensions of each request.
///
/// hyper does not know the address; insert it where the connection is accepted. axum knows it if it serves
/// `into_make_service_with_connect_info::<SocketAddr>()`: its `ConnectInfo` counts as well (feature `axum`),
/// and so do tonic's `TcpConnectInfo` and `TlsConnectInfo` (feature `tonic`). For other servers see
/// [`also_found_by`](Self::also_found_by).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(SocketAddr);

impl PeerAddress {
    /// The peer at this address and port.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Returns the address with its port.
    #[must_use]
    pub const fn address(self) -> SocketAddr {
        self.0
    }

    /// The peer that a request with these extensions comes from, if the server has noted it.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let noted = || noted_peer(extensions).or_else(|| found_elsewhere(extensions)).map(Self);
        extensions.get().copied().or_else(noted)
    }

    /// Finds the address with this function as well, in all throttles of the process, where nothing else has
    /// noted it. Meant for a server with a type of its own, once at the start of the program:
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
    /// # assert_eq!(PeerAddress::of(request.extensions()).unwrap().0.port(), 80);
    /// ```
    pub fn also_found_by(find: fn(&Extensions) -> Option<SocketAddr>) {
        ELSEWHERE.write().unwrap_or_else(PoisonError::into_inner).push(find);
    }
}

/// The functions that find an address where nothing known here has noted it.
static ELSEWHERE: RwLock<Vec<fn(&Extensions) -> Option<SocketAddr>>> = RwLock::new(Vec::new());

fn found_elsewhere(extensions: &Extensions) -> Option<SocketAddr> {
    let known = ELSEWHERE.read().unwrap_or_else(PoisonError::into_inner);
    known.iter().find_map(|find| find(extensions))
}

/// Counts by the peer's address, whatever its port.
///
/// An IPv4 address within an IPv6 one counts as that IPv4 address: mapped, translated by NAT64
/// (`64:ff9b::/96`), of 6to4 and of Teredo. Any other IPv6 address counts by its prefix, since its owner has
/// a whole network of them.
///
/// A request whose address is not known is refused with 500 and a body that says what to mend, and the first
/// of them leaves a line in the log: counted together, all clients would share one limit. Where that is
/// meant, say so by [`or_anonymous`](Self::or_anonymous).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    ipv6_prefix: u8,
    /// Whether requests whose address is not known are anonymous instead of refused.
    or_anonymous: bool,
}

/// The cure for a server that does not tell the addresses of its peers.
const UNKNOWN: &str = "the rate limiter does not know the address of the client: insert a PeerAddress into \
    the extensions of each request where connections are accepted; with axum turn on the feature `axum` and \
    serve `into_make_service_with_connect_info::<SocketAddr>()`, with tonic turn on the feature `tonic`; or \
    count by \
    something else than the address";

impl Default for Peer {
    /// IPv6 by /64, the smallest network that is handed out.
    fn default() -> Self {
        Self::ipv6_prefix(64)
    }
}

impl Peer {
    /// Counts IPv6 addresses by their first `bits`; 128 or more is the whole address.
    #[must_use]
    pub const fn ipv6_prefix(bits: u8) -> Self {
        Self { ipv6_prefix: bits, or_anonymous: false }
    }

    /// Counts requests whose address is not known as [anonymous](super::Anonymous) instead of refusing them.
    #[must_use]
    pub const fn or_anonymous(self) -> Self {
        Self { or_anonymous: true, ..self }
    }

    /// Whom to count a request from this address for.
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

    /// Whom to count a request for whose address is not known.
    pub(super) fn unknown(self) -> Identity {
        static FIRST: Once = Once::new();
        if self.or_anonymous {
            return Identity::anonymous();
        }
        FIRST.call_once(|| log::error(UNKNOWN));
        Identity::Refused(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, UNKNOWN))
    }

    fn prefix(self, address: Ipv6Addr) -> Ipv6Addr {
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

/// The IPv4 address of a client whose IPv6 address was made from it.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let [first, second, third, fourth, fifth, sixth, ..] = address.segments();
    match (first, second) {
        // NAT64, RFC 6052.
        (0x64, 0xff9b) if [third, fourth, fifth, sixth] == [0; 4] => Some(Ipv4Addr::from_bits(bits as u32)),
        // 6to4, RFC 3056.
        (0x2002, _) => Some(Ipv4Addr::from_bits((bits >> 80) as u32)),
        // Teredo, RFC 4380: the client's address stands there with every bit turned over.
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

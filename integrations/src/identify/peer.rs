//! By the address at the other end of the connection.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::Extensions;

use super::{Identify, Identity, RequestParts};

#[cfg(not(feature = "axum"))]
#[path = "peer/no_server.rs"]
mod server;
#[cfg(feature = "axum")]
mod server;

/// The address of the peer, which a server puts into the extensions of each request.
///
/// hyper does not know the address; insert it where the connection is accepted. axum knows it if it serves
/// `into_make_service_with_connect_info::<SocketAddr>()`: its `ConnectInfo` counts as well (feature `axum`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

impl PeerAddress {
    /// The peer that a request with these extensions comes from, if the server has noted it.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied().or_else(|| server::noted(extensions).map(Self))
    }
}

/// Counts by the peer's address, whatever its port.
///
/// An IPv4 address mapped into IPv6 counts as IPv4. An IPv6 address counts by its prefix, since whoever has
/// one has a whole network of them. Requests without a [`PeerAddress`] share one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    ipv6_prefix: u8,
}

impl Default for Peer {
    /// IPv6 by /64, the smallest network that is handed out.
    fn default() -> Self {
        Self { ipv6_prefix: 64 }
    }
}

impl Peer {
    /// Counts IPv6 addresses by their first `bits`; 128 or more is the whole address.
    #[must_use]
    pub const fn ipv6_prefix(bits: u8) -> Self {
        Self { ipv6_prefix: bits }
    }

    /// Whom to count a request from this address for.
    #[must_use]
    pub fn of(self, address: IpAddr) -> Identity {
        match address.to_canonical() {
            IpAddr::V4(address) => Identity::of(b'4', &address.octets()),
            IpAddr::V6(address) => Identity::of(b'6', &self.prefix(address).octets()),
        }
    }

    fn prefix(self, address: Ipv6Addr) -> Ipv6Addr {
        let host_bits = 128u32.saturating_sub(self.ipv6_prefix.into());
        Ipv6Addr::from_bits(address.to_bits() & u128::MAX.checked_shl(host_bits).unwrap_or(0))
    }
}

impl Identify for Peer {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        match PeerAddress::of(request.extensions) {
            Some(PeerAddress(address)) => self.of(address.ip()),
            None => Identity::anonymous(),
        }
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
    fn a_request_without_an_address_is_anonymous() {
        let mut request = http::Request::new(());
        assert_eq!(Peer::default().identify((&request).into()), Identity::anonymous());
        request.extensions_mut().insert(PeerAddress(([192, 0, 2, 1], 80).into()));
        assert_eq!(Peer::default().identify((&request).into()), of(Peer::default(), "192.0.2.1"));
    }
}

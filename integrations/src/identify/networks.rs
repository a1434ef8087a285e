//! Networks of addresses, such as those of trusted proxies.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{PeerAddress, RequestParts};
use crate::error::ThrottleError;

/// A set of networks, such as those of trusted proxies. It is cheap to clone, and by default empty.
///
/// Choose it wherever an address decides about trust: [`ClientAddress`](super::ClientAddress),
/// [`ClassHeaders`](super::ClassHeaders), [`Exempt`](super::Exempt).
///
/// ```
/// use traffik::web::Networks;
///
/// let inside = Networks::parse(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])?;
/// assert!(inside.contains("10.1.2.3".parse()?) && inside.contains("::ffff:192.0.2.7".parse()?));
/// assert!(!inside.contains("192.0.2.8".parse()?));
/// assert!(Networks::parse(["10.0.0.0/33"]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Arc<[IpNet]>);

impl Networks {
    /// Parses networks, each an address, or an address and the length of its prefix.
    ///
    /// # Errors
    ///
    /// Fails with [`ThrottleError::Network`] for the first text that is not a network.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, ThrottleError> {
        let network = |text: &str| {
            let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
            address.or_else(|_| text.parse()).map_err(|_| ThrottleError::Network(text.to_owned()))
        };
        texts.into_iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Reports whether an address is in one of the networks. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Reports whether the peer of a request is in one of the networks; false if its address is unknown.
    #[must_use]
    pub fn contain_peer(&self, request: RequestParts<'_>) -> bool {
        PeerAddress::of(request.extensions).is_some_and(|peer| self.contains(peer.address().ip()))
    }
}

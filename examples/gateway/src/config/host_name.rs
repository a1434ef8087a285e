//! The name by which a client calls the gateway.

use std::net::IpAddr;

use crate::limits::request::folded_host;

/// The host of a URL, in one form for all spellings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum HostName {
    Address(IpAddr),
    Name(String),
}

impl HostName {
    /// Returns the host of a text without a port.
    pub(crate) fn of(text: &str) -> Self {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        bare.parse::<IpAddr>().map_or_else(|_| Self::Name(folded_host(text)), Self::from)
    }
}

impl From<IpAddr> for HostName {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

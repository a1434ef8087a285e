//! Whom requests are counted for: as the options say it, and as people ask for it.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use http::header::FORWARDED;
use http::{HeaderName, HeaderValue, Request};
use percent_encoding::percent_decode_str;
use traffik::web::{
    ApiKey, ClientAddress, ClientKey, CompositeKey, Exempt, ForwardedHeader, Identify, Identity, Networks,
    Peer, PeerAddress,
};

/// What a client is counted by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum KeySpec {
    Peer,
    /// As a trusted proxy tells it, in this header.
    Forwarded(ForwardedHeader),
    Header(HeaderName),
}

pub(crate) const KEYS: &str = "the keys are peer, forwarded (X-Forwarded-For), forwarded:rfc7239, \
    forwarded:HEADER and header:NAME";

/// The headers by which proxies tell who the client is, by their names. Any other one is named as it is.
const VIAS: [(&str, ForwardedHeader); 6] = [
    ("xff", ForwardedHeader::XForwardedFor),
    ("rfc7239", ForwardedHeader::Forwarded),
    ("x-real-ip", ForwardedHeader::XRealIp),
    ("cf-connecting-ip", ForwardedHeader::CfConnectingIp),
    ("true-client-ip", ForwardedHeader::TrueClientIp),
    ("fly-client-ip", ForwardedHeader::FlyClientIp),
];

impl FromStr for KeySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "peer" => Ok(Self::Peer),
            None if text == "forwarded" => Ok(Self::Forwarded(ForwardedHeader::XForwardedFor)),
            Some(("forwarded", name)) => {
                let known = VIAS.iter().find(|(known, _)| *known == name);
                let via = match (known, name.parse()) {
                    (Some((_, via)), _) => via.clone(),
                    // Lists of addresses, which are read by other rules than a single one.
                    (None, Ok(header))
                        if ![FORWARDED.as_str(), "x-forwarded-for"]
                            .contains(&HeaderName::as_str(&header)) =>
                    {
                        ForwardedHeader::Header(header)
                    }
                    _ => {
                        return Err(format!(
                            "{name:?} is no header with one address; write forwarded for X-Forwarded-For, \
                             forwarded:rfc7239 for Forwarded, or forwarded:x-real-ip and the like"
                        ));
                    }
                };
                Ok(Self::Forwarded(via))
            }
            Some(("header", name)) => {
                let name = name
                    .parse()
                    .map_err(|_| format!("{name:?} is no name of a header; write header:x-api-key"))?;
                Ok(Self::Header(name))
            }
            _ => Err(KEYS.to_owned()),
        }
    }
}

impl std::fmt::Display for KeySpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Peer => f.write_str("peer"),
            Self::Forwarded(via) => {
                let named = VIAS.iter().find(|(_, known)| known == via);
                match (via, named) {
                    (ForwardedHeader::XForwardedFor, _) => f.write_str("forwarded"),
                    (ForwardedHeader::Header(name), _) => write!(f, "forwarded:{name}"),
                    (_, named) => write!(f, "forwarded:{}", named.map_or("", |(name, _)| name)),
                }
            }
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// Several ways to count a client, together; and whom not to count.
#[derive(Clone, Debug)]
pub(crate) struct ClientKeys {
    pub(crate) keys: Vec<KeySpec>,
    pub(crate) exempt: Networks,
    pub(crate) trusted: Networks,
}

impl ClientKeys {
    /// Counts so. Who is exempt is told by the header that the client is counted by, if it is by one.
    pub(crate) fn identifier(&self) -> Arc<dyn Identify> {
        let mut vias = self.keys.iter().filter_map(|key| match key {
            KeySpec::Forwarded(via) => Some(via.clone()),
            _ => None,
        });
        let address = ClientAddress::new(self.trusted.clone(), vias.next().unwrap_or_default());
        Arc::new(Exempt::networks(self.counted(), self.exempt.clone(), address))
    }

    fn counted(&self) -> Arc<dyn Identify> {
        let mut each = self.keys.iter().map(|key| -> Arc<dyn Identify> {
            match key {
                KeySpec::Peer => Arc::new(Peer::default()),
                KeySpec::Forwarded(via) => Arc::new(ClientAddress::new(self.trusted.clone(), via.clone())),
                // It may be a secret: whoever looks at the page is told a part of its hash.
                KeySpec::Header(name) => Arc::new(ApiKey::new(name.clone())),
            }
        });
        match (each.next(), self.keys.len()) {
            (Some(only), 1) => only,
            (first, _) => {
                Arc::new(first.into_iter().chain(each).fold(CompositeKey::new(), CompositeKey::and))
            }
        }
    }

    /// The client that people call so: its keys in their order, percent-encoded and joined by `|`; an empty one is one
    /// that a request did not have.
    pub(crate) fn client(&self, text: &str) -> Result<ClientKey, String> {
        // Whoever has encoded the whole of it has encoded the bars as well.
        let text = if text.split('|').count() == self.keys.len() { text } else { &decoded(text) };
        let parts: Vec<_> = text.split('|').map(decoded).collect();
        if parts.len() != self.keys.len() {
            let keys: Vec<_> = self.keys.iter().map(KeySpec::to_string).collect();
            return Err(format!(
                "{} parts in a key of {}; write {}",
                parts.len(),
                keys.len(),
                keys.join("|")
            ));
        }
        // Such a request as the client would send, so that it is counted the same.
        let mut request = Request::new(());
        for (key, part) in self.keys.iter().zip(parts).filter(|(_, part)| !part.is_empty()) {
            match key {
                KeySpec::Peer | KeySpec::Forwarded(_) => {
                    let address: IpAddr = part.parse().map_err(|_| format!("{part:?} is no address"))?;
                    request.extensions_mut().insert(PeerAddress::new((address, 0).into()));
                }
                KeySpec::Header(name) => {
                    let value = HeaderValue::from_str(&part).map_err(|_| format!("{part:?} is no header"))?;
                    request.headers_mut().insert(name, value);
                }
            }
        }
        match self.counted().identify((&request).into()) {
            Identity::Key(client) => Ok(client),
            _ => Err("such a client is not counted".to_owned()),
        }
    }
}

/// Without percent encoding; what is none stays.
pub(crate) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

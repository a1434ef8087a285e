//! The keys that clients are counted by, as options name them and as an operator names a client.

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

/// One identity that a client is counted by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum KeySpec {
    Peer,
    /// The address that a trusted proxy writes into this header.
    Forwarded(ForwardedHeader),
    Header(HeaderName),
}

pub(crate) const KEYS: &str = "the keys are peer, forwarded (X-Forwarded-For), forwarded:rfc7239, \
    forwarded:HEADER and header:NAME";

/// The names that an option gives to the headers into which proxies write the client's address. Any other
/// header has its own name.
const FORWARDED_HEADERS: [(&str, ForwardedHeader); 6] = [
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
                let known = FORWARDED_HEADERS.iter().find(|(known, _)| *known == name);
                let header = match (known, name.parse()) {
                    (Some((_, header)), _) => header.clone(),
                    // These two hold lists of addresses, which `ForwardedHeader::Header` does not parse.
                    (None, Ok(header))
                        if ![FORWARDED.as_str(), "x-forwarded-for"]
                            .contains(&HeaderName::as_str(&header)) =>
                    {
                        ForwardedHeader::Header(header)
                    }
                    _ => {
                        return Err(format!(
                            "{name:?} is not a header with a single address; write forwarded for X-Forwarded-For, \
                             forwarded:rfc7239 for Forwarded, or forwarded:x-real-ip and the like"
                        ));
                    }
                };
                Ok(Self::Forwarded(header))
            }
            Some(("header", name)) => {
                let name = name
                    .parse()
                    .map_err(|_| format!("{name:?} is not a header name; write header:x-api-key"))?;
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
            Self::Forwarded(header) => {
                let named = FORWARDED_HEADERS.iter().find(|(_, known)| known == header);
                match (header, named) {
                    (ForwardedHeader::XForwardedFor, _) => f.write_str("forwarded"),
                    (ForwardedHeader::Header(name), _) => write!(f, "forwarded:{name}"),
                    (_, named) => write!(f, "forwarded:{}", named.map_or("", |(name, _)| name)),
                }
            }
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// The identities that a client is counted by, combined, and the networks that are exempt.
#[derive(Clone, Debug)]
pub(crate) struct ClientKeys {
    pub(crate) keys: Vec<KeySpec>,
    pub(crate) exempt: Networks,
    pub(crate) trusted: Networks,
}

impl ClientKeys {
    /// Returns the identifier of requests. An exempt client is recognised by the forwarded header of its key,
    /// if the key has one, else by X-Forwarded-For.
    pub(crate) fn identifier(&self) -> Arc<dyn Identify> {
        let mut headers = self.keys.iter().filter_map(|key| match key {
            KeySpec::Forwarded(header) => Some(header.clone()),
            _ => None,
        });
        let address = ClientAddress::new(self.trusted.clone(), headers.next().unwrap_or_default());
        Arc::new(Exempt::networks(self.combine(), self.exempt.clone(), address))
    }

    fn combine(&self) -> Arc<dyn Identify> {
        let mut each = self.keys.iter().map(|key| -> Arc<dyn Identify> {
            match key {
                KeySpec::Peer => Arc::new(Peer::default()),
                KeySpec::Forwarded(header) => {
                    Arc::new(ClientAddress::new(self.trusted.clone(), header.clone()))
                }
                // The value may be a secret: `ApiKey` shows the page only the first digits of its hash.
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

    /// Returns the key of a client that an operator names: the client's identities in order, percent-encoded
    /// and joined by `|`. An empty part stands for an identity that a request lacks. Fails if a part is
    /// missing or malformed.
    pub(crate) fn client(&self, text: &str) -> Result<ClientKey, String> {
        // A caller who encoded the whole text has encoded the bars too, so no bar is left to split at.
        let text = if text.split('|').count() == self.keys.len() { text } else { &decoded(text) };
        let parts: Vec<_> = text.split('|').map(decoded).collect();
        if parts.len() != self.keys.len() {
            let keys: Vec<_> = self.keys.iter().map(KeySpec::to_string).collect();
            return Err(format!(
                "the key needs {} parts and has {}; write {}",
                keys.len(),
                parts.len(),
                keys.join("|")
            ));
        }
        // Identify a request as the client would send it, so that its key is the same.
        let mut request = Request::new(());
        for (key, part) in self.keys.iter().zip(parts).filter(|(_, part)| !part.is_empty()) {
            match key {
                KeySpec::Peer | KeySpec::Forwarded(_) => {
                    let address: IpAddr =
                        part.parse().map_err(|_| format!("{part:?} is not an IP address"))?;
                    request.extensions_mut().insert(PeerAddress::new((address, 0).into()));
                }
                KeySpec::Header(name) => {
                    let value = HeaderValue::from_str(&part)
                        .map_err(|_| format!("{part:?} is not a header value"))?;
                    request.headers_mut().insert(name, value);
                }
            }
        }
        match self.combine().identify((&request).into()) {
            Identity::Key(client) => Ok(client),
            _ => Err("such a client is not limited".to_owned()),
        }
    }
}

/// Decodes percent-encoding. A malformed escape stays as it is.
pub(crate) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

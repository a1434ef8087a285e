//! The keys that clients are counted by, as options name them and as an operator names a client.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use http::header::FORWARDED;
use traffik::web::ForwardedHeader;

/// One identity that a client is counted by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum KeySpec {
    Peer,
    /// The address that a trusted proxy writes into this header.
    Forwarded(ForwardedHeader),
    Header(HeaderName),
    Cookie(String),
    /// The value of a parameter in the query.
    Query(String),
    /// The value of a placeholder in the paths of the throttle's rules.
    Path(String),
    Host,
    Method,
    /// One bucket for all requests.
    Global,
    /// The value of an entry of a rate limit service's descriptor.
    Entry(String),
}

pub(crate) const KEYS: &str = "the keys are peer, forwarded (X-Forwarded-For), forwarded:rfc7239, \
    forwarded:HEADER, header:NAME, cookie:NAME, query:NAME, path:NAME, host, method and global";

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

impl KeySpec {
    /// Returns the header that a proxy writes the client's address into, if it has no name that all proxies
    /// know.
    pub(crate) fn address_header(&self) -> Option<HeaderName> {
        match self {
            Self::Forwarded(ForwardedHeader::Header(name)) => Some(name.clone()),
            _ => None,
        }
    }
}

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
            Some(("cookie", name)) => {
                // A name is a token, like that of a header (RFC 6265, section 4.1.1).
                let is_token = name.parse::<HeaderName>().is_ok();
                let error = || format!("{name:?} is not a name of a cookie; write cookie:session");
                is_token.then(|| Self::Cookie(name.to_owned())).ok_or_else(error)
            }
            Some(("query", "")) => Err("the parameter has no name; write query:api_key".to_owned()),
            Some(("query", name)) => Ok(Self::Query(name.to_owned())),
            Some(("path", name)) => {
                let is_plain = !name.is_empty() && !name.contains(['{', '}', '*', '/']);
                let error = || {
                    format!("{name:?} is not a placeholder; write path:id for the {{id}} of a rule's path")
                };
                is_plain.then(|| Self::Path(name.to_owned())).ok_or_else(error)
            }
            None if text == "host" => Ok(Self::Host),
            None if text == "method" => Ok(Self::Method),
            None if text == "global" => Ok(Self::Global),
            _ => Err(KEYS.to_owned()),
        }
    }
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path(name) => write!(f, "path:{name}"),
            Self::Host => f.write_str("host"),
            Self::Method => f.write_str("method"),
            Self::Global => f.write_str("global"),
            Self::Entry(name) => write!(f, "entry:{name}"),
        }
    }
}

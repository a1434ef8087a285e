//! The clients that requests are counted for, by the keys of a throttle.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use traffik::web::{
    ApiKey, ClientAddress, ClientKey, CompositeKey, Cookie, Exempt, Identify, Identity, Networks, Peer,
    Refusal, RequestParts,
};

use crate::limits::keys::KeySpec;
use crate::limits::request::{host, parameters};
use crate::limits::rules::{PathValues, RulePlan};

/// The identities that a client is counted by, combined, and the networks that are exempt.
#[derive(Clone, Debug)]
pub(crate) struct ClientKeys {
    pub(crate) keys: Vec<KeySpec>,
    /// Length of the prefix by which IPv6 addresses are counted.
    pub(crate) ipv6_prefix: u8,
    /// The rules of the throttle, whose paths have the placeholders of `path:NAME`.
    pub(crate) rules: Vec<RulePlan>,
    /// The networks that each throttle exempts, and those that this one does.
    pub(crate) exempt: [Networks; 2],
    pub(crate) trusted: Networks,
}

impl ClientKeys {
    /// Returns the identifier of requests. An exempt client is recognised by the forwarded header of its key,
    /// if the key has one, else by X-Forwarded-For.
    ///
    /// # Errors
    ///
    /// Fails if a path of a rule cannot be compiled.
    pub(crate) fn identifier(&self) -> Result<Arc<dyn Identify>, String> {
        let mut headers = self.keys.iter().filter_map(|key| match key {
            KeySpec::Forwarded(header) => Some(header.clone()),
            _ => None,
        });
        let address = ClientAddress::new(self.trusted.clone(), headers.next().unwrap_or_default());
        let exempt = self.exempt.clone();
        let is_exempt = move |request: RequestParts<'_>| exempt.iter().any(|it| address.is_in(it, request));
        Ok(Arc::new(Exempt::when(self.combine()?, is_exempt)))
    }

    fn combine(&self) -> Result<Arc<dyn Identify>, String> {
        let each: Vec<_> = self.keys.iter().map(|key| self.identity(key)).collect::<Result<_, _>>()?;
        Ok(match &*each {
            [only] => Arc::clone(only),
            _ => Arc::new(each.into_iter().fold(CompositeKey::new(), CompositeKey::and)),
        })
    }

    /// Returns the identifier by one key. Values that may be secrets have names that show a hash alone.
    fn identity(&self, key: &KeySpec) -> Result<Arc<dyn Identify>, String> {
        let peer = Peer::ipv6_prefix(self.ipv6_prefix);
        Ok(match key {
            KeySpec::Peer => Arc::new(peer),
            KeySpec::Forwarded(header) => {
                Arc::new(ClientAddress::new(self.trusted.clone(), header.clone()).counted(peer))
            }
            KeySpec::Header(name) => Arc::new(ApiKey::new(name.clone())),
            KeySpec::Cookie(name) => Arc::new(Cookie::new(name)),
            KeySpec::Query(name) => {
                let name = name.clone();
                Arc::new(move |request: RequestParts<'_>| by_query(request, &name))
            }
            KeySpec::Path(name) => {
                let (values, name) = (PathValues::of(&self.rules)?, name.clone());
                Arc::new(move |request: RequestParts<'_>| match values.value(request, &name) {
                    Some(value) => Identity::of(PATH, value.as_bytes()),
                    None => Identity::anonymous(),
                })
            }
            KeySpec::Host => Arc::new(|request: RequestParts<'_>| match host(request) {
                Ok(Some(host)) => Identity::of(HOST, host.as_bytes()),
                Ok(None) => Identity::anonymous(),
                Err(detail) => Identity::Refused(Refusal::new(StatusCode::BAD_REQUEST, detail)),
            }),
            KeySpec::Method => Arc::new(|request: RequestParts<'_>| by_method(request.method.as_str())),
            KeySpec::Global => Arc::new(|_: RequestParts<'_>| Identity::of(GLOBAL, b"all")),
            // No HTTP request has descriptors.
            KeySpec::Entry(_) => Arc::new(CompositeKey::new()),
        })
    }

    /// Returns the key of a client whose identities are known as texts, in the order of the keys. It is the
    /// key of an HTTP request with these identities. Returns `None` if the client is exempt.
    pub(crate) fn of_texts(&self, texts: &[&str]) -> Option<ClientKey> {
        let is_exempt = self.keys.iter().zip(texts).any(|(key, text)| {
            let is_address = matches!(key, KeySpec::Peer | KeySpec::Forwarded(_));
            let is_in = |address: IpAddr| self.exempt.iter().any(|networks| networks.contains(address));
            is_address && text.parse().is_ok_and(is_in)
        });
        if is_exempt {
            return None;
        }
        let mut parts =
            self.keys.iter().zip(texts).filter_map(|(key, text)| match self.described(key, text) {
                Identity::Key(part) => Some(part),
                _ => None,
            });
        match self.keys.as_slice() {
            [_] => parts.next(),
            _ => Some(ClientKey::combined(&parts.collect::<Vec<_>>())),
        }
    }

    /// Returns the identity that an entry of a descriptor has, in place of a key.
    fn described(&self, key: &KeySpec, text: &str) -> Identity {
        let is_address = matches!(key, KeySpec::Peer | KeySpec::Forwarded(_));
        // A masked address has the length of its prefix behind a slash.
        let bare = text.split_once('/').filter(|_| is_address).map_or(text, |(address, _)| address);
        // A client that can send garbage must not escape the limit by it.
        self.named(key, bare).unwrap_or_else(|_| Identity::of(ENTRY, text.as_bytes()))
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
        let each = self.keys.iter().zip(&parts).map(|(key, part)| self.named(key, part));
        let each: Vec<_> = each.collect::<Result<_, _>>()?;
        let identity = match &*each {
            [only] => only.clone(),
            _ => {
                let all = each.into_iter().fold(CompositeKey::new(), |all, identity| {
                    all.and_by(move |_: RequestParts<'_>| identity.clone())
                });
                all.identify((&http::Request::new(())).into())
            }
        };
        match identity {
            Identity::Key(client) => Ok(client),
            _ => Err("such a client is not limited".to_owned()),
        }
    }

    /// Returns the identity that a request with this value has.
    fn named(&self, key: &KeySpec, part: &str) -> Result<Identity, String> {
        Ok(match key {
            KeySpec::Global => Identity::of(GLOBAL, b"all"),
            KeySpec::Method => by_method(part),
            KeySpec::Peer | KeySpec::Forwarded(_) => {
                let address: IpAddr = part.parse().map_err(|_| format!("{part:?} is not an IP address"))?;
                Peer::ipv6_prefix(self.ipv6_prefix).of(address)
            }
            _ if part.is_empty() => Identity::anonymous(),
            KeySpec::Header(_) | KeySpec::Cookie(_) => {
                HeaderValue::from_str(part).map_err(|_| format!("{part:?} is not a header value"))?;
                Identity::of(SECRET, part.as_bytes())
            }
            KeySpec::Query(_) => Identity::of(SECRET, part.as_bytes()),
            KeySpec::Path(_) => Identity::of(PATH, part.as_bytes()),
            KeySpec::Entry(_) => Identity::of(ENTRY, part.as_bytes()),
            KeySpec::Host => Identity::of(HOST, crate::limits::request::folded_host(part).as_bytes()),
        })
    }
}

/// The way of a value that only its hash names, as `ApiKey` and `Cookie` have it.
const SECRET: u8 = b'k';
/// The way of a value that a client wrote, of which a store sees a hash.
const HOST: u8 = b'h';
const PATH: u8 = b'h';
const ENTRY: u8 = b'h';
const METHOD: u8 = b'm';
const GLOBAL: u8 = b'g';

/// Returns the client of a parameter in the query. Several different values are refused, since the service
/// behind may believe another one than the counted one.
fn by_query(request: RequestParts<'_>, name: &str) -> Identity {
    let mut values = parameters(request).filter(|(known, _)| known == name).map(|(_, value)| value);
    let Some(first) = values.next() else { return Identity::anonymous() };
    if values.all(|value| value == first) {
        return Identity::of(SECRET, first.as_bytes());
    }
    let detail = format!("the parameter {name:?} is sent more than once; send it with one value");
    Identity::Refused(Refusal::new(StatusCode::BAD_REQUEST, detail))
}

/// Returns the client of a method. HEAD counts as GET, and all methods that HTTP does not define as one:
/// otherwise a client had a bucket more for each method that it invents.
fn by_method(method: &str) -> Identity {
    let known = [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH, Method::TRACE];
    let name = match method {
        "GET" | "HEAD" => "GET",
        _ if known.iter().any(|known| known == method) => method,
        _ => "other",
    };
    Identity::of(METHOD, name.as_bytes())
}

/// Decodes percent-encoding. A malformed escape stays as it is.
pub(crate) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

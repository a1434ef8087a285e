//! The identifier by several things together, such as address and API key.

use std::fmt;

use smallvec::SmallVec;

use super::{Identify, Identity, RequestParts};

/// Identifies clients by several identifiers together, such as address and API key.
///
/// Choose it to give each combination a limit, such as each API key at each address. A request is exempt if
/// any identifier exempts it. Otherwise the first refusal refuses it.
///
/// ```
/// use traffik::web::{ApiKey, CompositeKey, Identify, Peer, PeerAddress};
///
/// let by_address_and_key = CompositeKey::new().and(Peer::default()).and(ApiKey::new("x-api-key".parse()?));
/// let of = |key: &str| {
///     let mut request = http::Request::builder().header("x-api-key", key).body(()).unwrap();
///     request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 443).into()));
///     by_address_and_key.identify((&request).into())
/// };
/// assert_eq!(of("a"), of("a"));
/// assert_ne!(of("a"), of("b"));
/// # Ok::<(), http::header::InvalidHeaderName>(())
/// ```
#[derive(Default)]
pub struct CompositeKey(Vec<Box<dyn Identify>>);

impl CompositeKey {
    /// Returns an identifier that counts all requests for one client, until identifiers are
    /// [added](Self::and).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an identifier.
    #[must_use]
    pub fn and(mut self, part: impl Identify + 'static) -> Self {
        self.0.push(Box::new(part));
        self
    }

    /// Adds a function of the request as an identifier.
    #[must_use]
    pub fn and_by(self, part: impl Fn(RequestParts<'_>) -> Identity + Send + Sync + 'static) -> Self {
        self.and(part)
    }
}

impl Identify for CompositeKey {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        let (mut all, mut refused) = (SmallVec::<[u8; 128]>::new(), None);
        for part in &self.0 {
            let key = match part.identify(request) {
                Identity::Key(key) => key,
                Identity::Exempt => return Identity::Exempt,
                Identity::Refused(refusal) => {
                    refused.get_or_insert(refusal);
                    continue;
                }
            };
            all.extend_from_slice(key.as_bytes());
            // The length marks the end of a part, so that no part can pass for the beginning of the next.
            all.extend_from_slice(&(key.as_bytes().len() as u64).to_le_bytes());
        }
        refused.map_or_else(|| Identity::of(b'+', &all), Identity::Refused)
    }
}

impl fmt::Debug for CompositeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompositeKey of {}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use traffik_core::Key;

    use super::*;
    use crate::{Header, PeerAddress};

    #[test]
    fn every_part_tells_clients_apart() {
        let named = |name: &'static str| Header::new(http::HeaderName::from_static(name));
        let composite = CompositeKey::new().and(crate::Peer::default()).and(named("a")).and(named("b"));
        let of = |port: u8, a: &str, b: &str| {
            let mut request = http::Request::builder().header("a", a).header("b", b).body(()).unwrap();
            request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, port], 80).into()));
            composite.identify((&request).into())
        };
        assert_eq!(of(1, "x", "y"), of(1, "x", "y"));
        for other in [of(2, "x", "y"), of(1, "xy", ""), of(1, "", "xy"), of(1, "y", "x")] {
            assert_ne!(of(1, "x", "y"), other);
        }
    }

    #[test]
    fn one_exemption_is_enough() {
        let composite = CompositeKey::new().and(crate::Peer::default()).and_by(|_| Identity::Exempt);
        assert_eq!(composite.identify((&http::Request::new(())).into()), Identity::Exempt);
    }

    #[test]
    fn a_storage_sees_a_hash_of_what_a_client_wrote_also_in_a_part() {
        let composite = CompositeKey::new()
            .and_by(|_| Identity::of(b'4', &[192, 0, 2, 1]))
            .and_by(|_| Identity::of(b'h', b"alice"))
            .and_by(|_| Identity::of(b'k', b"abc"));
        let Identity::Key(key) = composite.identify((&http::Request::new(())).into()) else { unreachable!() };
        let (mut bytes, mut name) = (Vec::new(), String::new());
        key.feed(&mut |piece: &[u8]| bytes.extend_from_slice(piece));
        key.name(&mut name).unwrap();
        assert_eq!(name, "192.0.2.1+alice+key ba7816bf");
        assert_eq!(bytes.len(), 1 + (5 + 8) + (17 + 8) + (17 + 8));
        let of = |needle: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
        assert!(!of(b"alice") && !of(b"abc"));
    }
}

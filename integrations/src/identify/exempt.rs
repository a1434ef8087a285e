//! An identifier that exempts some requests.

use traffik_core::debug_fields;

use super::{ClientAddress, Identify, Identity, Networks, RequestParts};

/// Identifies clients by another identifier, and exempts some requests from counting.
///
/// Choose it for health checks and for clients in your own networks.
///
/// ```
/// use traffik::web::{Exempt, Header, Identify, Identity, Networks, PeerAddress, RequestParts};
///
/// let by_key = Header::new("x-api-key".parse()?);
/// let inside = Networks::parse(["10.0.0.0/8"])?;
/// let not_from_inside = Exempt::when(by_key, move |request: RequestParts<'_>| inside.contain_peer(request));
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(PeerAddress::new(([10, 0, 0, 7], 443).into()));
/// assert_eq!(not_from_inside.identify((&request).into()), Identity::Exempt);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Exempt<I> {
    inner: I,
    when: Box<dyn Fn(RequestParts<'_>) -> bool + Send + Sync>,
}

impl<I: Identify> Exempt<I> {
    /// Exempts requests for which `when` returns true. It must not depend on a value that a client can write.
    pub fn when(inner: I, when: impl Fn(RequestParts<'_>) -> bool + Send + Sync + 'static) -> Self {
        Self { inner, when: Box::new(when) }
    }

    /// Exempts clients whose address is [known to be in](ClientAddress::is_in) these networks.
    pub fn networks(inner: I, networks: Networks, address: ClientAddress) -> Self {
        Self::when(inner, move |request| address.is_in(&networks, request))
    }
}

impl<I: Identify> Identify for Exempt<I> {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        if (self.when)(request) { Identity::Exempt } else { self.inner.identify(request) }
    }
}

debug_fields!([I: std::fmt::Debug] Exempt<I>: inner);

//! Identifiers: the client that a request is counted for.

use std::sync::Arc;

pub use crate::http::request::RequestParts;

mod address;
mod anonymous;
mod class;
mod client_address;
mod client_key;
mod composite;
mod exempt;
mod extension;
mod forwarded;
mod header;
mod networks;
mod peer;
mod route;

pub use anonymous::Anonymous;
pub use class::{ClassHeaders, CostHeader};
pub use client_address::{ClientAddress, ForwardedHeader};
pub use client_key::{ClientKey, Identity};
pub use composite::CompositeKey;
pub use exempt::Exempt;
pub use extension::FromExtension;
pub use header::{ApiKey, Cookie, Header};
pub use networks::Networks;
pub use peer::{Peer, PeerAddress};
pub use route::Route;

/// Identifies the client that a request is counted for.
///
/// Implement it for an identifier with settings. A function of [`RequestParts`] that returns an [`Identity`]
/// implements it as well. If a client can write the value, the client chooses its name: such a name is good
/// for counting, never for a privilege.
///
/// ```
/// use traffik::web::{Identify, Identity, RequestParts};
///
/// /// Counts by the first segment of the path, such as `/shop-7/..`.
/// struct Shop;
///
/// impl Identify for Shop {
///     fn identify(&self, request: RequestParts<'_>) -> Identity {
///         let shop = request.uri.path().split('/').nth(1).unwrap_or_default();
///         Identity::of(b's', shop.as_bytes())
///     }
/// }
///
/// let of = |path: &str| Shop.identify((&http::Request::get(path).body(()).unwrap()).into());
/// assert_eq!(of("/shop-7/cart"), of("/shop-7/pay"));
/// assert_ne!(of("/shop-7/cart"), of("/shop-8/cart"));
/// ```
pub trait Identify: Send + Sync {
    /// Returns the client of this request.
    fn identify(&self, request: RequestParts<'_>) -> Identity;
}

impl<F: Fn(RequestParts<'_>) -> Identity + Send + Sync> Identify for F {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        self(request)
    }
}

impl Identify for Arc<dyn Identify> {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        (**self).identify(request)
    }
}

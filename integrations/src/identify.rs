//! Who is asking.

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

/// Tells who is asking.
///
/// A function of a request's parts is one. What a client can write must be treated as a name it chose itself:
/// good for counting it apart, never for a privilege.
pub trait Identify: Send + Sync {
    /// Whom to count this request for.
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

//! Who is asking.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use http::StatusCode;
use smallvec::SmallVec;
use traffik_core::Key;

pub use crate::request::RequestParts;

mod anonymous;
mod composite;
mod header;
mod peer;

pub use anonymous::Anonymous;
pub use composite::Composite;
pub use header::Header;
pub use peer::{Peer, PeerAddress};

/// Whom a request is counted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// For this client.
    Key(ClientKey),
    /// For nobody: the limit does not apply.
    Exempt,
    /// For nobody: the request is refused with this status.
    Refused(StatusCode),
}

impl Identity {
    /// A client known by these bytes, told apart from clients known in another `way`.
    #[must_use]
    pub fn of(way: u8, bytes: &[u8]) -> Self {
        let mut key = SmallVec::with_capacity(bytes.len() + 1);
        key.push(way);
        key.extend_from_slice(bytes);
        Self::Key(ClientKey(key))
    }

    /// A client about whom nothing is known; all of them share one limit.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::of(b'?', &[])
    }
}

/// The bytes a client is known by. Up to 63 of them take no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey(SmallVec<[u8; 64]>);

impl ClientKey {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Key for ClientKey {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(&self.0);
    }

    fn name(&self, text: &mut dyn Write) -> fmt::Result {
        name(&self.0, text)
    }
}

/// What people call a client that is known by these bytes.
fn name(bytes: &[u8], text: &mut dyn Write) -> fmt::Result {
    match bytes.split_first() {
        None | Some((b'?', [])) => text.write_str("anonymous"),
        Some((b'4', rest)) if let Ok(octets) = <[u8; 4]>::try_from(rest) => {
            write!(text, "{}", Ipv4Addr::from(octets))
        }
        Some((b'6', rest)) if let Ok(octets) = <[u8; 16]>::try_from(rest) => {
            write!(text, "{}", Ipv6Addr::from(octets))
        }
        Some((b'+', parts)) => composite::name(parts, text),
        Some((_, rest)) => write!(text, "{}", String::from_utf8_lossy(rest).escape_debug()),
    }
}

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

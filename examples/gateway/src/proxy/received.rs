//! The way in which the gateway received a request, for the upstream.

/// The way in which the gateway received a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Whether by TLS.
    pub(crate) is_tls: bool,
}

impl Received {
    /// Returns the scheme of the request's URL.
    pub(crate) const fn scheme(self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }
}

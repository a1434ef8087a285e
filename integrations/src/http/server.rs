//! The notes that servers and routers leave in the extensions of a request.

use std::net::SocketAddr;

use http::{Extensions, Uri};

use super::request::RequestParts;

/// The address of the peer, where axum or tonic has noted it.
pub(crate) fn noted_peer(extensions: &Extensions) -> Option<SocketAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) =
        extensions.get::<axum::extract::ConnectInfo<SocketAddr>>()
    {
        return Some(*address);
    }
    // Over TLS tonic notes it as well, beside a `TlsConnectInfo`.
    #[cfg(feature = "tonic")]
    if let Some(connection) = extensions.get::<tonic::transport::server::TcpConnectInfo>() {
        return connection.remote_addr;
    }
    let _ = extensions;
    None
}

impl<'a> RequestParts<'a> {
    /// The target as the client sent it, which rules and [routes](crate::Route) go by. Within a nested router
    /// of axum's `uri` is the rest that is left for it (feature `axum`); elsewhere both are the same.
    #[must_use]
    pub fn original_uri(self) -> &'a Uri {
        #[cfg(feature = "axum")]
        if let Some(axum::extract::OriginalUri(uri)) = self.extensions.get() {
            return uri;
        }
        self.uri
    }
}

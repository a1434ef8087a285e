//! Values that servers and routers insert into the extensions of a request.

use std::net::SocketAddr;

use http::{Extensions, Uri};

use super::request::RequestParts;

/// Returns the address of the peer, if axum or tonic has inserted it.
pub(crate) fn peer_from_server(extensions: &Extensions) -> Option<SocketAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) =
        extensions.get::<axum::extract::ConnectInfo<SocketAddr>>()
    {
        return Some(*address);
    }
    // Over TLS tonic also inserts a `TcpConnectInfo`, beside its `TlsConnectInfo`.
    #[cfg(feature = "tonic")]
    if let Some(connection) = extensions.get::<tonic::transport::server::TcpConnectInfo>() {
        return connection.remote_addr;
    }
    let _ = extensions;
    None
}

impl<'a> RequestParts<'a> {
    /// Returns the target as the client sent it; rules and [routes](crate::Route) use it.
    ///
    /// Within a nested router of axum, `uri` is only the rest of the target (feature `axum`). Elsewhere both
    /// are the same.
    #[must_use]
    pub fn original_uri(self) -> &'a Uri {
        #[cfg(feature = "axum")]
        if let Some(axum::extract::OriginalUri(uri)) = self.extensions.get() {
            return uri;
        }
        self.uri
    }
}

//! Where axum notes the address of the peer.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use http::Extensions;

/// What `into_make_service_with_connect_info::<SocketAddr>()` notes on each request.
pub(super) fn noted(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get().map(|ConnectInfo(address)| *address)
}

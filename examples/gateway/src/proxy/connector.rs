//! Connections to the upstream.

use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// Connects to the upstream, over TLS if its URL has the scheme `https`.
pub(crate) type Connector = HttpsConnector<HttpConnector>;

/// The version of HTTP that the upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum UpstreamVersion {
    Http1,
    Http2,
}

impl UpstreamVersion {
    /// Returns the version that a URL asks for, and the URL in a scheme that clients know.
    pub(crate) fn of(upstream: &Uri) -> (Self, Uri) {
        let (version, scheme) = match upstream.scheme_str() {
            Some("h2c") => (Self::Http2, Scheme::HTTP),
            Some("h2") => (Self::Http2, Scheme::HTTPS),
            _ => return (Self::Http1, upstream.clone()),
        };
        let mut parts = upstream.clone().into_parts();
        parts.scheme = Some(scheme);
        // The parts were a URL with an authority, and still are.
        (version, Uri::from_parts(parts).unwrap_or_else(|_| upstream.clone()))
    }
}

/// Returns the connector for an upstream.
///
/// # Errors
///
/// Fails if the upstream needs the operating system's root certificates, and there are none.
pub(crate) fn connector(
    upstream: Option<&Uri>,
    version: UpstreamVersion,
    timeout: Duration,
) -> Result<Connector, String> {
    let mut plain = HttpConnector::new();
    plain.set_nodelay(true);
    plain.set_connect_timeout(Some(timeout));
    plain.enforce_http(false);
    let secured = upstream.filter(|uri| uri.scheme() == Some(&Scheme::HTTPS));
    let config = ClientConfig::builder_with_provider(ring::default_provider().into());
    let config = config.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    // Reading the root certificates takes longer than the rest of the start.
    let config = match secured {
        None => config.with_root_certificates(RootCertStore::empty()),
        Some(uri) => config.with_native_roots().map_err(|error| {
            format!("--upstream {uri}: {error}; install the package ca-certificates, or set SSL_CERT_FILE")
        })?,
    };
    let builder = HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth());
    let builder = builder.https_or_http();
    Ok(match version {
        UpstreamVersion::Http1 => builder.enable_http1().wrap_connector(plain),
        UpstreamVersion::Http2 => builder.enable_http2().wrap_connector(plain),
    })
}

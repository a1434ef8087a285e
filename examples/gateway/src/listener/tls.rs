//! The certificate of the listener.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::file;
use crate::config::listener_options::TlsFiles;

/// The protocols that a client may choose, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The TLS settings of a listener, with the certificate as it was read last.
#[derive(Clone)]
pub(crate) struct Tls {
    files: TlsFiles,
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    ///
    /// Fails with the option whose file cannot be used.
    pub(crate) fn new(files: TlsFiles) -> Result<Self, String> {
        let config = Arc::new(ArcSwap::new(config(&files)?));
        Ok(Self { files, config })
    }

    /// Returns the acceptor for a connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }

    /// Reads the files anew. Connections under way keep the certificate that they began with.
    ///
    /// # Errors
    ///
    /// Fails with the option whose file cannot be used; the certificate before then stays in use.
    pub(crate) fn reload(&self) -> Result<(), String> {
        self.config.store(config(&self.files)?);
        Ok(())
    }
}

fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, String> {
    let on = |option: &str, path: &Path, error: &dyn std::fmt::Display, cure: &str| {
        format!("{option} {}: {error}{cure}", path.display())
    };
    let read = |option, path| file::bytes(path).map_err(|error| on(option, path, &error, ""));
    let bad_cert = |error: &dyn std::fmt::Display| {
        on("--tls-cert", &files.cert, error, "; name a PEM file with the certificate, then its issuers")
    };
    let pem = read("--tls-cert", &files.cert)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| bad_cert(&error))?;
    if chain.is_empty() {
        return Err(bad_cert(&"there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(&read("--tls-key", &files.key)?).map_err(|error| {
        on("--tls-key", &files.key, &error, "; name a PEM file with the private key of the certificate")
    })?;
    let config = ServerConfig::builder_with_provider(ring::default_provider().into());
    let config = config.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| {
        on("--tls-key", &files.key, &error, "; name the key that the certificate was made for")
    })?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}

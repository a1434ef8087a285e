//! TLS over a stream of any runtime, by rustls.

use std::io;
use std::sync::{Arc, OnceLock};
use std::task::Context;

use redis::ConnectionAddr;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use socket2::SockRef;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::wire::NetStream;

/// Whether this build can connect over TLS.
pub(super) const IS_ON: bool = true;

/// The TLS setup of a storage.
#[derive(Clone, Default)]
pub(in super::super) struct Tls {
    /// The user's configuration.
    config: Option<Arc<ClientConfig>>,
    /// The default configuration, made on first use: reading the operating system's roots takes milliseconds.
    standard: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// Installs ring's cryptography for rustls, unless the program has installed a provider. Without any, rustls
/// panics at the first connection.
pub(in super::super) fn prepare() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Tls {
    pub(in super::super) fn with(config: ClientConfig) -> Self {
        Self { config: Some(Arc::new(config)), ..Self::default() }
    }

    /// Returns whether the user gave a configuration.
    pub(super) const fn is_given(&self) -> bool {
        self.config.is_some()
    }

    /// Returns whether this module connects to an address. The redis crate does so for a client that was made
    /// with certificates, and for one that skips their check.
    pub(super) const fn is_for(&self, address: &ConnectionAddr) -> bool {
        match address {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                self.is_given() || (!*insecure && tls_params.is_none())
            }
            _ => false,
        }
    }

    /// Returns a configuration that trusts the operating system's roots, which are read once. After a
    /// failure, the next connection tries again.
    fn standard(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.standard.get() {
            return Ok(Arc::clone(config));
        }
        let config = trusting_the_system().map_err(io::Error::other)?;
        Ok(Arc::clone(self.standard.get_or_init(|| config)))
    }

    /// Proves that the server is `host`, and encrypts from then on.
    pub(super) async fn over(
        &self,
        stream: Box<dyn NetStream>,
        host: &str,
    ) -> io::Result<Box<dyn NetStream>> {
        let config = match &self.config {
            Some(config) => Arc::clone(config),
            None => self.standard()?,
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Box::new(TlsConnector::from(config).connect(name, stream).await?))
    }
}

fn trusting_the_system() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let cause = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(format!(
            "the operating system has no trusted roots{cause}; install ca-certificates, or give your own \
             (RedisBuilder::tls)"
        ));
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

impl NetStream for TlsStream<Box<dyn NetStream>> {
    fn socket(&self) -> SockRef<'_> {
        self.get_ref().0.socket()
    }

    /// Reads the record by which a server announces that it closes, which no reader has seen yet.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let (stream, session) = self.get_mut();
        loop {
            match session.process_new_packets() {
                Ok(state) if state.peer_has_closed() => return true,
                Ok(state) if state.plaintext_bytes_to_read() > 0 => {
                    // An answer was decrypted here, so its reader must be woken: the socket will not wake it
                    // again.
                    context.waker().wake_by_ref();
                    return false;
                }
                Ok(_) => {}
                Err(_) => return true,
            }
            match session.read_tls(&mut &*stream.socket()) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }
}

//! The certificate by which a server proves its name over TLS.

use rcgen::{CertifiedKey, generate_simple_self_signed};

/// A certificate that is signed by itself, and its key, both as PEM.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Identity {
    /// For names and addresses, such as `localhost`, which [`secured_url`](super::Redis::secured_url) names.
    pub fn of(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        Self { certificate: cert.pem(), key: signing_key.serialize_pem() }
    }
}

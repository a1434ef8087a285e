//! What TLS needs before its first connection.

/// Lets rustls use ring's cryptography, unless the program has chosen another: without any, rustls panics.
pub(super) fn prepare() {
    // Refused if somebody was faster, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

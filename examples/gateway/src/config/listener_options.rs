//! The options of the listener for clients.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

use crate::limits::parameters::PositiveDuration;

/// The options of the listener for clients.
#[derive(Args, Clone)]
pub(crate) struct ListenerOptions {
    /// Address and port to listen on; port 0 picks a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = socket)]
    pub(crate) listen: SocketAddr,

    /// Most connections at once, without those of --admin, --auth and --rls. If there are so many, the one
    /// idle longest makes room for the next; if none is idle, the next is answered 503. The default is what
    /// the file descriptors of the process suffice for; each connection may need a second one to the
    /// upstream.
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<NonZeroUsize>,

    /// Most connections at once of one peer (of an IPv6 peer's /64) that is no trusted proxy; four fifths of
    /// --max-connections by default, so that no single peer takes the places of all others.
    #[arg(long, value_name = "N")]
    pub(crate) max_connections_per_peer: Option<NonZeroUsize>,

    /// Longest time until a new connection's first byte, and from the first byte of a request to the end of
    /// its head. A client that misses it is answered 408, if it has sent anything.
    #[arg(long, value_name = "TIME", default_value = "10s", allow_hyphen_values = true)]
    pub(crate) head_timeout: PositiveDuration,

    /// Longest time from a response to the connection's next request. It should be longer than that of a
    /// load balancer in front.
    #[arg(long, value_name = "TIME", default_value = "75s", allow_hyphen_values = true)]
    pub(crate) keep_alive_timeout: PositiveDuration,

    /// Longest time until the client takes the next part of a response. The connection is cut off then.
    #[arg(long, value_name = "TIME", default_value = "60s", allow_hyphen_values = true)]
    pub(crate) write_timeout: PositiveDuration,

    /// PEM file with the certificate, then those of its issuers: --listen then speaks TLS. A file that
    /// changes is read again, and on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// PEM file with the private key of the certificate.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Longest time that SIGTERM or Ctrl-C waits for requests under way, such as 10s. A second signal ends
    /// the process at once, with status 130 for Ctrl-C and 143 for SIGTERM.
    #[arg(long, value_name = "TIME", default_value = "10s", allow_hyphen_values = true)]
    pub(crate) drain: PositiveDuration,
}

impl ListenerOptions {
    /// Returns the files of the certificate and its key, if the listener speaks TLS.
    pub(crate) fn tls(&self) -> Option<TlsFiles> {
        // clap has made sure that both are there, or none.
        Some(TlsFiles { cert: self.tls_cert.clone()?, key: self.tls_key.clone()? })
    }
}

/// The files of a certificate and its key.
#[derive(Clone)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    pub(crate) fn paths(&self) -> [PathBuf; 2] {
        [self.cert.clone(), self.key.clone()]
    }
}

/// Parses an address and a port.
pub(crate) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.rsplit_once(':') {
        Some(("", port)) if port.parse::<u16>().is_ok() => format!(
            "the address is missing; write 0.0.0.0:{port} for all, or 127.0.0.1:{port} for this machine alone"
        ),
        Some((host, port)) if host.parse::<Ipv4Addr>().is_ok() || host.ends_with(']') => {
            format!("{port:?} is not a port; write 1 to 65535, or 0 for any free port")
        }
        _ => "write an address and a port, such as 127.0.0.1:8080, [::1]:8080, or 0.0.0.0:8080 for all \
              addresses"
            .to_owned(),
    })
}

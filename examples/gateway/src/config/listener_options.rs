//! The options of the listener for clients.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;

use crate::limits::parameters::PositiveDuration;

/// The options of the listener for clients.
#[derive(Args, Clone)]
pub(crate) struct ListenerOptions {
    /// Address and port to listen on; port 0 picks a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = socket)]
    pub(crate) listen: SocketAddr,

    /// Longest time that SIGTERM or Ctrl-C waits for requests under way, such as 10s. A second signal ends
    /// the process at once, with status 130 for Ctrl-C and 143 for SIGTERM.
    #[arg(long, value_name = "TIME", default_value = "10s", allow_hyphen_values = true)]
    pub(crate) drain: PositiveDuration,
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

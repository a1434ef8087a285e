//! The options of the gateway's operation.

use std::net::SocketAddr;

use clap::Args;

use crate::config::listener_options::socket;

/// The options of the gateway's operation.
#[derive(Args, Clone)]
pub(crate) struct OperationOptions {
    /// Address and port of a listener for the admin paths below /_traffik/; --listen then serves none of
    /// them.
    ///
    /// Without it, --listen serves the admin paths to clients on this machine that call it by localhost or a
    /// loopback address and send no header that proxies write. Use it if a proxy on this machine writes no
    /// such header. Either way, pages of other sites get no access.
    #[arg(long, value_name = "ADDR", value_parser = socket)]
    pub(crate) admin: Option<SocketAddr>,
}

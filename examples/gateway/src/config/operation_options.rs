//! The options of the gateway's operation.

use std::net::SocketAddr;

use clap::Args;

use crate::config::listener_options::socket;
use crate::observe::log::{LogFormat, LogLevel};

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

    /// Form of the log on standard error: text, or json with one object a line.
    #[arg(long, value_name = "FORM", value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log: LogFormat,

    /// Least severe lines that the log has.
    ///
    /// error has refused files; warn adds faults of stores; info adds start, reloads, the first denial of
    /// each client per minute (60 lines a minute at most) and the end.
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    pub(crate) log_level: LogLevel,
}

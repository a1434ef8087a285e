//! The options of the gateway's operation.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::host_name::HostName;
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
    ///
    /// It answers to the address that a connection arrives at, to localhost and loopback addresses, and to
    /// each --admin-host; a request whose Host is another gets 421. Probes of /_traffik/livez, readyz and
    /// health get their status by any Host.
    #[arg(long, value_name = "ADDR", value_parser = socket)]
    pub(crate) admin: Option<SocketAddr>,

    /// Name or further address that --admin answers to, such as gateway.example; may be given several times.
    /// Needed by a browser, or a Prometheus, that calls it by a name, or by an address that a router or a
    /// container engine translates.
    #[arg(long, value_name = "NAME", value_parser = host, requires = "admin")]
    pub(crate) admin_host: Vec<HostName>,

    /// File whose first line is a token of at least 16 characters, such as openssl rand -hex 32 prints. Read
    /// again when it changes and on SIGHUP.
    ///
    /// /_traffik/stat, denied and reset, which show or change the counts of clients, then need the header
    /// Authorization: Bearer TOKEN, on --admin and on --listen; all others get 401. The page asks for it.
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,

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

/// Parses a host without a port.
fn host(text: &str) -> Result<HostName, String> {
    let host = HostName::of(text);
    let is_host = match &host {
        HostName::Address(_) => true,
        HostName::Name(name) => {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            !name.is_empty() && text.bytes().all(is_part)
        }
    };
    let advice = || format!("{text:?} is not a host; write a name without scheme and port: gateway.example");
    is_host.then_some(host).ok_or_else(advice)
}

//! The options of the reverse proxy.

use clap::{Args, ValueEnum};
use http::Uri;
use traffik::Rate;

use crate::limits::parameters::PositiveDuration;
use crate::limits::storage::server;

/// The options of the reverse proxy.
#[derive(Args, Clone)]
pub(crate) struct ProxyOptions {
    /// Server that receives admitted requests, such as http://127.0.0.1:3000. Without it the gateway answers
    /// them itself with 200 "ok".
    ///
    /// http:// and https:// servers are spoken to in HTTP/1.1; h2c:// and h2:// servers in HTTP/2, which gRPC
    /// needs, h2:// over TLS. With TLS, the operating system must trust the server's certificate.
    #[arg(long, value_name = "URL", value_parser = upstream)]
    pub(crate) upstream: Option<Uri>,

    /// Deadline of connecting to the upstream. A request that misses it is answered 502.
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true)]
    pub(crate) upstream_connect_timeout: PositiveDuration,

    /// Longest time that the upstream may take until the head of its response, once it has the request. A
    /// request that misses it is answered 504.
    #[arg(long, value_name = "TIME", default_value = "60s", allow_hyphen_values = true)]
    pub(crate) upstream_timeout: PositiveDuration,

    /// Longest time between two parts of the upstream's response, as of a stream of events. The response
    /// is cut off then.
    #[arg(long, value_name = "TIME", default_value = "60s", allow_hyphen_values = true)]
    pub(crate) idle_timeout: PositiveDuration,

    /// Longest time between two parts of a request's body. A client that misses it is answered 408.
    #[arg(long, value_name = "TIME", default_value = "30s", allow_hyphen_values = true)]
    pub(crate) body_timeout: PositiveDuration,

    /// Limit on the messages of each WebSocket connection to /ws, such as 10/s, by the same strategy. The
    /// handshake counts as a request. Without it, messages are not limited.
    #[arg(long, value_name = "RATE", conflicts_with = "upstream", allow_hyphen_values = true)]
    pub(crate) ws_rate: Option<Rate>,

    /// Action on a WebSocket message over the limit: message drops it and sends a notice, close closes the
    /// connection, delay holds the message until it fits.
    #[arg(long, value_enum, default_value_t = WsActionOption::Message, requires = "ws_rate")]
    pub(crate) ws_action: WsActionOption,
}

/// The action on a WebSocket message over the limit.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum WsActionOption {
    Message,
    Close,
    Delay,
}

fn upstream(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}; write http://HOST:PORT"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https" | "h2c" | "h2"), Some(authority)) => {
            server(authority.as_str()).map(|()| uri.clone())
        }
        _ => Err("the upstream must be an http://, https://, h2c:// or h2:// URL; write http://HOST:PORT"
            .to_owned()),
    }
}

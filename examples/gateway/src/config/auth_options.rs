//! The options of forward auth.

use std::net::SocketAddr;

use clap::Args;
use http::StatusCode;

use crate::config::listener_options::socket;

/// The options of forward auth.
#[derive(Args, Clone)]
pub(crate) struct AuthOptions {
    /// Address and port of a listener that answers the questions of a proxy, such as nginx' auth_request or
    /// forward_auth of Caddy and Traefik: 200 if the proxy may pass the request on, 429 if it is over a
    /// limit.
    ///
    /// The proxy, whose network --trusted-proxy names, describes the request by X-Forwarded-For or X-Real-IP,
    /// and by X-Forwarded-Method, -Uri and -Host, or X-Original-Method and X-Original-URI or -URL. All other
    /// headers are taken for those of the request. Requests count under the same limits as on --listen.
    #[arg(long, value_name = "ADDR", value_parser = socket, requires = "trusted_proxy")]
    pub(crate) auth: Option<SocketAddr>,

    /// Status of a denial on --auth, instead of 429 or the throttle's own. nginx takes no other than 401 and
    /// 403.
    #[arg(long, value_name = "STATUS", value_parser = denied, requires = "auth")]
    pub(crate) auth_denied_status: Option<StatusCode>,
}

/// Parses the status of a denial.
fn denied(text: &str) -> Result<StatusCode, String> {
    let status = text.parse().ok().filter(StatusCode::is_client_error);
    status.ok_or_else(|| format!("{text:?} is not a status from 400 to 499; write 403 for nginx"))
}

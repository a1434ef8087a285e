//! The options of Envoy's rate limit service.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use crate::config::listener_options::socket;

/// The options of Envoy's rate limit service.
#[derive(Args, Clone)]
pub(crate) struct RlsOptions {
    /// Address and port of Envoy's rate limit service, version 3, by gRPC without TLS.
    ///
    /// Requests count in the same throttles as those of --listen. In the file, a throttle names the
    /// descriptors that it applies to: domain = "edge" and descriptors = [{ key = "path", value = "/login" },
    /// { key = "remote_address" }]. Without --config and --rls-config, the limit of the command line applies
    /// to the descriptor remote_address of any domain.
    #[arg(long, value_name = "ADDR", value_parser = socket)]
    pub(crate) rls: Option<SocketAddr>,

    /// YAML file of limits in the format of Envoy's own rate limit service, or a directory of such files;
    /// may be given several times. Reloaded like --config.
    ///
    /// Counts by --strategy, --storage and --on-error of the command line, or by their defaults.
    #[arg(long, value_name = "FILE", requires = "rls")]
    pub(crate) rls_config: Vec<PathBuf>,
}

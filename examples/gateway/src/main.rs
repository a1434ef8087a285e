//! A reverse proxy that rate-limits the requests it forwards.
//!
//! `cargo run --release -p traffik-gateway -- --help` lists its options. The program consists of small files
//! over the public API:
//!
//! | files | subject |
//! |---|---|
//! | [`options`], [`config`] | the command line and the TOML file |
//! | [`spec`], [`plain`], [`parameters`] | the text form of a strategy |
//! | [`plan`] | the throttles to build, as read from either |
//! | [`keys`], [`denied_clients`] | the keys of clients, and the clients denied most |
//! | [`strategy`], [`limit`] | the strategy of a throttle, chosen at run time |
//! | [`stores`], [`store_metrics`], [`history`] | the storages, and the use that survives a reload |
//! | [`throttles`], [`gateway`] | the throttles, and the state shared by all requests |
//! | [`upstream`], [`echo`] | the service behind: an upstream server, or a WebSocket |
//! | [`own`], [`caller`], [`page`], [`events`] | the admin paths, their access check, and the live page |
//! | [`server`], [`target`], [`response`] | the listeners, refused request targets, and plain responses |

mod caller;
mod config;
mod denied_clients;
mod echo;
mod events;
mod gateway;
mod history;
mod keys;
mod limit;
mod options;
mod own;
mod page;
mod parameters;
mod plain;
mod plan;
mod response;
mod server;
mod spec;
mod store_metrics;
mod stores;
mod strategy;
mod target;
mod throttles;
mod upstream;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let options = options::Options::parse();
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| format!("cannot start the tokio runtime: {error}"));
    match runtime.and_then(|runtime| runtime.block_on(server::run(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

//! A reverse proxy that rate-limits the requests it forwards.
//!
//! `cargo run --release -p traffik-gateway -- --help` lists its options. The program consists of small files
//! over the public API:
//!
//! | folder | subject |
//! |---|---|
//! | [`config`] | the command line and the TOML file |
//! | [`limits`] | the text form of limits, and the strategies that it builds |
//! | [`stores`] | the storages, and the use that survives a reload |
//! | [`throttles`], [`gateway`] | the throttles, and the state shared by all requests |
//! | [`observe`] | the log, the counters, the clients denied most, and the samples of the live page |
//! | [`proxy`] | the service behind: an upstream server, or a WebSocket |
//! | [`auth`] | the answers to a proxy that asks whether it may pass a request on |
//! | [`rls`] | Envoy's rate limit service |
//! | [`admin`], [`access`] | the admin paths and their page, and who may ask for what |
//! | [`live`] | the figures of the live page |
//! | [`listener`] | the connections: their places, deadlines and TLS |
//! | [`server`], [`response`] | the start, the end and the way of a request, and plain responses |

mod access;
mod admin;
mod auth;
mod config;
mod gateway;
mod limits;
mod listener;
mod live;
mod observe;
mod proxy;
mod response;
mod rls;
mod server;
mod stores;
mod throttles;

use std::process::ExitCode;

use clap::Parser;

use crate::observe::log;

fn main() -> ExitCode {
    let options = config::options::Options::parse();
    log::start(options.operation.log, options.operation.log_level);
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| format!("cannot start the tokio runtime: {error}"));
    let ended = match runtime.and_then(|runtime| runtime.block_on(server::run::run(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::fail(&format!("error: {error}"));
            ExitCode::from(2)
        }
    };
    log::flush();
    ended
}

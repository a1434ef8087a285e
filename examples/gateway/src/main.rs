//! A reverse proxy that limits what passes through it.
//!
//! `cargo run --release -p traffik-gateway -- --help` lists its options. A handful of small files over the
//! public API: what is asked for ([`options`], [`spec`] and its [`plain`] strategies, [`parameters`],
//! [`config`]), what it comes to ([`plan`]), who is counted ([`keys`]) and who denied most ([`denials`]), the
//! strategy ([`strategy`], [`limit`]), where states are history ([`stores`]) and what of them when the file is
//! read anew ([`history`]), the throttles made of it all ([`throttles`]), the service behind them ([`upstream`],
//! or a WebSocket: [`echo`]), the targets that are refused ([`target`]), all of that in one ([`gateway`]),
//! its own paths ([`own`]), who may call them ([`caller`]) and the page ([`page`], [`events`]), the answers
//! of its own ([`reply`]), and the server in front of it all ([`server`]).

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
mod stores;
mod strategy;
mod target;
mod throttles;
mod upstream;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let options = options::Options::parse();
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("the runtime: {error}"));
    match runtime.and_then(|runtime| runtime.block_on(server::run(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

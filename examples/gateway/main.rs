//! A reverse proxy that limits what passes through it.
//!
//! `cargo run --release --example gateway -- --help` tells its options. A handful of small files over the
//! public API: what is asked for ([`options`], [`spec`]), the strategy it comes to ([`strategy`]), the limit made of
//! it ([`limit`]), the service behind it ([`upstream`]), and the server in front of it all ([`server`]).

mod limit;
mod options;
mod server;
mod spec;
mod strategy;
mod upstream;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let options = options::Options::parse();
    match server::run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

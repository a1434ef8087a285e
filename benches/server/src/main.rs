//! The gateway as a server: its doors beside nginx and beside servers that only answer, its memory and its
//! start.
//!
//! Throughput and latency are measured in pairs, whose clients have the same processors as the servers: only
//! the ratios travel.

mod answering;
mod child;
mod load;
mod nginx;
mod standing;

use std::cell::RefCell;
use std::io;
use std::process::ExitCode;

use traffik_bench_support::Bound::{AtLeast, AtMost};
use traffik_bench_support::{Report, pairs};

use crate::child::{Child, free_port, gateway};
use crate::load::{Load, calls, requests};

/// Rounds of each pair, of which the median counts.
const ROUNDS: usize = 7;

fn main() -> io::Result<ExitCode> {
    // The counterparts are this program, too.
    if let [_, kind, port] = &std::env::args().collect::<Vec<_>>()[..] {
        return answering::serve(kind, port).map(|()| ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    report.head(format!("the gateway over its counterpart, {ROUNDS} rounds"));
    proxied(&mut report)?;
    authorized(&mut report)?;
    rate_limited(&mut report)?;
    standing::run(&mut report)?;
    Ok(report.end())
}

/// The first failure of a pair's rounds, which ends the suite: its figure would only spoil the median.
#[derive(Default)]
struct Rounds(RefCell<Option<io::Error>>);

impl Rounds {
    fn load(&self, load: io::Result<Load>) -> Load {
        load.unwrap_or_else(|error| {
            self.0.borrow_mut().get_or_insert(error);
            Load { per_second: f64::NAN, p99_us: f64::NAN }
        })
    }

    fn end(self) -> io::Result<()> {
        self.0.into_inner().map_or(Ok(()), Err)
    }
}

/// The proxy beside nginx with `limit_req`, before the same upstream, with two workers each.
fn proxied(report: &mut Report) -> io::Result<()> {
    let upstream = nginx::answering()?;
    let nginx = nginx::limiting(&upstream)?;
    let url = format!("http://{}", upstream.address);
    let gateway = gateway(&["--upstream", &url, "--rate", "1000000/s"])?;
    let rounds = Rounds::default();
    let figures = |address: &str| {
        let load = rounds.load(requests(address, &[]));
        [load.per_second, load.p99_us]
    };
    let [throughput, latency] = pairs(ROUNDS, || figures(&gateway.address), || figures(&nginx.address));
    rounds.end()?;
    report.pair(
        "a proxy with a limit, over nginx with limit_req",
        &throughput,
        "requests/s",
        Some(AtLeast(0.5)),
    );
    report.pair("99th percentile of the same", &latency, "us", Some(AtMost(2.0)));
    Ok(())
}

/// Forward auth beside a server that answers 200.
fn authorized(report: &mut Report) -> io::Result<()> {
    let headers = [
        "X-Forwarded-For: 192.0.2.1",
        "X-Forwarded-Method: GET",
        "X-Forwarded-Uri: /",
        "X-Forwarded-Host: a.example",
    ];
    let port = free_port()?.to_string();
    let address = format!("127.0.0.1:{port}");
    let options =
        ["--auth", &*address, "--trusted-proxy", "127.0.0.1", "--key", "forwarded", "--rate", "1000000/s"];
    let _gateway = gateway(&options)?;
    let bare = Child::answering("http")?;
    let rounds = Rounds::default();
    let figure = |address: &str| [rounds.load(requests(address, &headers)).per_second];
    let [pair] = pairs(ROUNDS, || figure(&address), || figure(&bare.address));
    rounds.end()?;
    report.pair("forward auth, over an answer of hyper", &pair, "requests/s", Some(AtLeast(0.6)));
    Ok(())
}

/// The rate limit service beside one that says OK to everything.
fn rate_limited(report: &mut Report) -> io::Result<()> {
    let limits = child::file(
        "limits.toml",
        "[[throttle]]\nuid = \"users\"\nrate = \"1000000/s\"\ndomain = \"edge\"\ndescriptors = { key = \"user\" }\n",
    )?;
    let port = free_port()?.to_string();
    let address = format!("127.0.0.1:{port}");
    let _gateway = gateway(&["--rls", &address, "--config", &limits])?;
    let bare = Child::answering("grpc")?;
    let call = child::bytes("call", &answering::call())?;
    let rounds = Rounds::default();
    let figure = |address: &str| [rounds.load(calls(address, &call)).per_second];
    let [pair] = pairs(ROUNDS, || figure(&address), || figure(&bare.address));
    rounds.end()?;
    report.pair("a rate limit service, over one that says OK", &pair, "decisions/s", Some(AtLeast(0.65)));
    Ok(())
}

//! Checks on a shared store beside bare calls, on a server of its own; and a hot key that tasks of several processes ask for
//! at once. Only the ratios travel from machine to machine.

mod count;
mod load;
mod memcached;
mod redis;
mod server;
mod storm;

use std::io;
use std::process::ExitCode;

use traffik_bench_support::{Report, asked};

use server::Server;
use storm::Promise;

fn main() -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    if let Some(line) = storm::asked(&runtime) {
        println!("{line}");
        return Ok(ExitCode::SUCCESS);
    }
    if let Some((kind, number)) = asked() {
        count::run(&kind, number)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    let words = |text: String| text.split(' ').map(str::to_owned).collect();
    match std::env::args().nth(1).as_deref() {
        Some("redis") => {
            let options = |port: &str| format!("--port {port} --bind 127.0.0.1 --appendonly no --save");
            let server =
                Server::start("redis-server", |port| [words(options(port)), vec![String::new()]].concat());
            count::redis(&mut report, &server.address)?;
            let url = format!("redis://{}", server.address);
            for tasks in [1, 64] {
                redis::side_by_side(&mut report, &runtime, &url, tasks);
            }
            storm::storms(&mut report, &url, &Promise { checks: 15_000.0, p99: 50.0 });
        }
        Some("memcached") => {
            let options = |port: &str| format!("-l 127.0.0.1 -p {port} -U 0 -t 2 -u root");
            let server = Server::start("memcached", |port| words(options(port)));
            count::memcached(&mut report, &server.address)?;
            let url = format!("memcached://{}", server.address);
            for tasks in [1, 64] {
                memcached::side_by_side(&mut report, &runtime, &server.address, tasks);
            }
            storm::storms(&mut report, &url, &Promise { checks: 5_000.0, p99: 100.0 });
        }
        _ => {
            eprintln!("error: write which store: redis or memcached");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(report.end())
}

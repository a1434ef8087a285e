//! Checks on a shared store beside bare calls, on a server of its own; and a hot key that tasks of several processes ask for
//! at once. Only the ratios travel from machine to machine.

mod load;
mod memcached;
mod redis;
mod server;
mod storm;

use server::Server;
use storm::Promise;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    if let Some(told) = storm::asked(&runtime) {
        return println!("{told}");
    }
    let words = |text: String| text.split(' ').map(str::to_owned).collect();
    let failed = match std::env::args().nth(1).as_deref() {
        Some("redis") => {
            let options = |port: &str| format!("--port {port} --bind 127.0.0.1 --appendonly no --save");
            let server =
                Server::start("redis-server", |port| [words(options(port)), vec![String::new()]].concat());
            let url = format!("redis://{}", server.address);
            [1, 64].map(|tasks| redis::side_by_side(&runtime, &url, tasks)).iter().sum::<usize>()
                + storm::storms(&url, &Promise { checks: 15_000, p99: 50 })
        }
        Some("memcached") => {
            let options = |port: &str| format!("-l 127.0.0.1 -p {port} -U 0 -t 2 -u root");
            let server = Server::start("memcached", |port| words(options(port)));
            let url = format!("memcached://{}", server.address);
            [1, 64]
                .map(|tasks| memcached::side_by_side(&runtime, &server.address, tasks))
                .iter()
                .sum::<usize>()
                + storm::storms(&url, &Promise { checks: 5_000, p99: 100 })
        }
        _ => panic!("which store: redis or memcached?"),
    };
    println!(
        "\n{}",
        if failed == 0 { "all as promised".to_owned() } else { format!("{failed} not as promised") }
    );
    std::process::exit(i32::from(failed > 0));
}

//! What a limit adds to a WebSocket message.
//!
//! Instructions are counted by valgrind over `count KIND NUMBER`, which echoes so many messages; see
//! `scripts/bench-websocket`. Without arguments it measures throughput, in pairs: only the ratios travel.

mod load;

use std::process::ExitCode;

use traffik_bench_websocket::read::echoed;
use traffik_bench_websocket::wire::{Wire, limiting};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["count", kind, number] => match (*kind, number.parse()) {
            ("bare", Ok(number)) => echoed(Wire(number)),
            ("limited", Ok(number)) => echoed(limiting()(Wire(number))),
            _ => return ExitCode::from(2),
        },
        [] => return load::run(),
        _ => {
            eprintln!("error: write nothing, or count bare|limited NUMBER");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

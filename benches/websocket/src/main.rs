//! The cost of a limit on a WebSocket message, and on a connection that is idle.
//!
//! Instructions, allocations and memory are the same every time. Throughput is measured in pairs: only its
//! ratios travel.

mod load;

use std::io;
use std::process::ExitCode;

use traffik_bench_support::Bound::AtMost;
use traffik_bench_support::{INSTRUCTIONS, Report, asked, beside};
use traffik_bench_websocket::read::{ECHOED, echoed};
use traffik_bench_websocket::wire::{Wire, limiting};

fn main() -> io::Result<ExitCode> {
    if let Some((kind, number)) = asked() {
        match kind.as_str() {
            "bare" => echoed(Wire(number)),
            "limited" => echoed(limiting()(Wire(number))),
            _ => unreachable!("the kinds are those that are named below"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let added = ECHOED.each_more("limited")? - ECHOED.each_more("bare")?;
    let [allocations, bytes] = beside("memory")?;
    let mut report = Report::default();
    report.head("added by a limit in memory");
    report.line("to an admitted message that is echoed", added, INSTRUCTIONS, Some(AtMost(1_000.0)));
    report.line("to the same", allocations, "allocations", Some(AtMost(0.0)));
    report.line("to a connection that is idle", bytes, "bytes", Some(AtMost(1_024.0)));
    load::run(&mut report);
    Ok(report.end())
}

//! The cost of failing, in instructions: a client who is denied already, beside a check in memory, and a
//! store that does not answer, beside the fallback alone. No clock is read in any of them.

mod check;
mod store;

use std::io;
use std::process::ExitCode;

use check::COUNTED;
use traffik_bench_support::Bound::AtMost;
use traffik_bench_support::{INSTRUCTIONS, Report, asked};

/// Checks of each kind, over which instructions are averaged.
const CHECKS: u64 = 10_000;

fn main() -> io::Result<ExitCode> {
    if let Some((kind, number)) = asked() {
        check::run(&kind, number);
        return Ok(ExitCode::SUCCESS);
    }
    let instructions = |kind| COUNTED.each(kind, CHECKS);
    let (memory, cached) = (instructions("memory")?, instructions("cached")?);
    let (local, open) = (instructions("local")?, instructions("open")?);
    let (local_denied, open_denied) = (instructions("local-denied")?, instructions("open-denied")?);
    let mut report = Report::default();
    let calls = format!("of the store, in {CHECKS} checks");
    report.head("a client who is denied already, through a cache of denials before a store that is far away");
    report.line(&calls, check::run("cached", CHECKS) as f64, "calls", Some(AtMost(0.0)));
    report.line("a check in memory, of a known key", memory, INSTRUCTIONS, None);
    report.line("a check that the cache answers", cached, INSTRUCTIONS, None);
    report.line("as a multiple", cached / memory, "x", Some(AtMost(1.2)));
    report.head("an open breaker, before a fallback in memory");
    report.line(&calls, check::run("open", CHECKS) as f64, "calls", Some(AtMost(0.0)));
    report.line("a check of the fallback alone, admitted", local, INSTRUCTIONS, None);
    report.line("added to it", open - local, INSTRUCTIONS, Some(AtMost(200.0)));
    report.line("a check of the fallback alone, denied", local_denied, INSTRUCTIONS, None);
    report.line("added to it", open_denied - local_denied, INSTRUCTIONS, Some(AtMost(200.0)));
    Ok(report.end())
}

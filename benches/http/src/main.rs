//! The cost of a throttle on a request, of a denial beside serving, and both under load.
//!
//! Instructions and allocations are the same every time. Throughput is measured in pairs: only its ratios
//! travel.

mod count;
mod load;

use std::io;
use std::process::ExitCode;

use traffik_bench_http::calls::CALLED;
use traffik_bench_support::Bound::AtMost;
use traffik_bench_support::{INSTRUCTIONS, Report, asked, beside};

use count::CONNECTED;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [ask, address, number] = arguments.as_slice()
        && ask == "ask"
    {
        count::ask(address, number.parse().map_err(io::Error::other)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some((kind, number)) = asked() {
        count::run(&kind, number);
        return Ok(ExitCode::SUCCESS);
    }
    let (bare, admitted) = (CALLED.each_more("bare")?, CALLED.each_more("admitted")?);
    let (serving, served) = (CONNECTED.each_more("serving")?, CONNECTED.each_more("served")?);
    let denied = CONNECTED.each_more("denied")?;
    let [allocations] = beside("allocations")?;
    let mut report = Report::default();
    report.head("instructions, and allocations");
    report.line(
        "added to an admitted request without headers",
        admitted - bare,
        INSTRUCTIONS,
        Some(AtMost(3_000.0)),
    );
    report.line("added to it", allocations, "allocations", Some(AtMost(0.0)));
    report.line("a request on a connection of hyper's, served ok", serving, INSTRUCTIONS, None);
    report.line("the same, admitted by a throttle and served ok", served, INSTRUCTIONS, None);
    report.line("the same, denied", denied, INSTRUCTIONS, None);
    report.line("denied, as a multiple of admitted and served", denied / served, "x", Some(AtMost(1.16)));
    report.line("denied, as a multiple of served without any throttle", denied / serving, "x", None);
    load::run(&mut report);
    Ok(report.end())
}

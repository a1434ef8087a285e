//! The cost of a decision: the pure function alone, and a check through a limiter, side by side.
//!
//! Criterion measures while this program runs once more with criterion's own arguments; its estimates are
//! then held against their bound. Only ratios within one run travel from machine to machine.

mod decisions;

use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use traffik_bench_support::Bound::AtMost;
use traffik_bench_support::{Report, best};

/// How often a figure with a bound is measured at most.
const TIMES: usize = 4;

fn main() -> io::Result<ExitCode> {
    if std::env::args().any(|argument| argument == "--bench") {
        decisions::run();
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::default();
    let list = criterion(&["--list"])?;
    let mut headed = "";
    for id in list.lines().filter_map(|line| line.strip_suffix(": benchmark")) {
        let Some((group, name)) = id.split_once('/') else { continue };
        if group != headed {
            report.head(group);
            headed = group;
        }
        let bound = (group == "decide and outcome").then_some(AtMost(15.0));
        let figure = |ns: &io::Result<f64>| *ns.as_ref().unwrap_or(&f64::NAN);
        let ns = best(TIMES, bound, figure, || measured(id))?;
        report.line(name, ns, "ns", bound);
    }
    Ok(report.end())
}

/// Has criterion measure a benchmark, and returns the estimate that it shows between its bounds, in
/// nanoseconds: the slope where there is one, else the mean.
fn measured(id: &str) -> io::Result<f64> {
    criterion(&["--noplot", "--exact", id])?;
    let file = home()?.join(id).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
    ["/slope/point_estimate", "/mean/point_estimate"]
        .iter()
        .find_map(|path| estimates.pointer(path)?.as_f64())
        .ok_or_else(|| io::Error::other(format!("criterion has no estimate of {id}")))
}

/// Runs this program with criterion's arguments, returns its stdout, and passes on its warnings.
fn criterion(arguments: &[&str]) -> io::Result<String> {
    let mut program = Command::new(std::env::current_exe()?);
    let output = program.arg("--bench").args(arguments).env("CRITERION_HOME", home()?).output()?;
    // Criterion writes its progress to stderr too.
    let errors = String::from_utf8_lossy(&output.stderr);
    errors.lines().filter(|line| !line.starts_with("Benchmarking ")).for_each(|line| eprintln!("{line}"));
    if !output.status.success() {
        return Err(io::Error::other(format!("criterion failed: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the folder of criterion's files, beside this program.
fn home() -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("criterion"))
}

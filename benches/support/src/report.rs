//! The report: a line for each figure, and the exit status.

use std::fmt::Display;
use std::process::ExitCode;

use crate::{Bound, Pair};

/// The figures of a suite as lines on stdout, and how many of them missed their bound.
#[derive(Debug, Default)]
pub struct Report {
    failed: usize,
}

impl Report {
    /// Prints the heading of the lines that follow.
    pub fn head(&self, text: impl Display) {
        println!("\n{text}");
    }

    /// Prints a figure, held against its bound if it has one.
    pub fn line(&mut self, name: impl Display, figure: f64, unit: &str, bound: Option<Bound>) {
        let verdict = self.verdict(figure, bound);
        println!("{} {unit:<12} {verdict}", cells(name, figure));
    }

    /// Prints the ratio of a pair, held against its bound if it has one, and both figures in `unit`.
    pub fn pair(&mut self, name: impl Display, pair: &Pair, unit: &str, bound: Option<Bound>) {
        let verdict = self.verdict(pair.ratio, bound);
        let figures = format!("{:.0} over {:.0} {unit}", pair.one, pair.other);
        println!("{} {:<12} {verdict:<20} {figures}", cells(name, pair.ratio), "x");
    }

    /// Prints the summary and returns the exit status: a failure if any figure missed its bound.
    pub fn end(self) -> ExitCode {
        match self.failed {
            0 => println!("\nall as promised"),
            failed => println!("\n{failed} not as promised"),
        }
        ExitCode::from(u8::from(self.failed > 0))
    }

    fn verdict(&mut self, figure: f64, bound: Option<Bound>) -> String {
        let Some(bound) = bound else { return String::new() };
        let kept = bound.holds(figure);
        self.failed += usize::from(!kept);
        format!("{bound}: {}", if kept { "pass" } else { "FAIL" })
    }
}

/// Returns the first two columns of a line; the figure has as many digits as say something.
fn cells(name: impl Display, figure: f64) -> String {
    let digits = match figure.abs() {
        size if size.fract() == 0.0 || size >= 1_000.0 => 0,
        10.0.. => 2,
        _ => 3,
    };
    format!("  {:<62} {figure:>10.digits$}", name.to_string())
}

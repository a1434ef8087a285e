//! The programs of a suite, which all lie in one folder.

use std::io;
use std::process::Command;

/// Runs the program `name` that lies beside this one: the figures it prints, one a line.
///
/// # Errors
///
/// Fails if the program is not there, fails itself, or prints anything but numbers.
pub fn beside(name: &str) -> io::Result<Vec<f64>> {
    let output = Command::new(std::env::current_exe()?.with_file_name(name)).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Option<Vec<f64>> = text.lines().map(|line| line.parse().ok()).collect();
    figures
        .filter(|_| output.status.success())
        .ok_or_else(|| io::Error::other(format!("{name} printed no figures: {text}")))
}

//! The programs of a suite, which all lie in one folder.

use std::io;
use std::process::Command;

/// Runs the program `name` that lies beside this one, and returns the figures it prints, one a line.
///
/// # Errors
///
/// Fails if the program is not there, fails itself, or prints anything but so many numbers.
pub fn beside<const N: usize>(name: &str) -> io::Result<[f64; N]> {
    let output = Command::new(std::env::current_exe()?.with_file_name(name)).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Option<Vec<f64>> = text.lines().map(|line| line.parse().ok()).collect();
    figures
        .filter(|_| output.status.success())
        .and_then(|figures| figures.try_into().ok())
        .ok_or_else(|| io::Error::other(format!("{name} printed anything but {N} figures: {text}")))
}

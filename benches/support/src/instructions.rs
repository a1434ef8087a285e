//! Instructions of a function, which no noise disturbs: valgrind counts them while this program runs once
//! more.

use std::io;
use std::process::Command;

/// The unit of these figures.
pub const INSTRUCTIONS: &str = "instructions";

/// The first argument of a program that runs to be counted; a kind of work and its number follow.
const COUNT: &str = "count";

/// Returns the kind of work and its number if this program runs to be counted, for it to do nothing else.
pub fn asked() -> Option<(String, u64)> {
    let mut arguments = std::env::args().skip(1);
    let (first, kind, number) = (arguments.next()?, arguments.next()?, arguments.next()?);
    (first == COUNT).then_some((kind, number.parse().ok()?))
}

/// A function of this program, by its path, with whatever it calls; valgrind must be installed.
#[derive(Clone, Copy, Debug)]
pub struct Counted(pub &'static str);

impl Counted {
    /// Returns the instructions of one of `number` pieces of work of this kind, on average:
    /// `collected(number) / number`.
    ///
    /// # Errors
    ///
    /// Fails if valgrind cannot be run or counts nothing.
    pub fn each(self, kind: &str, number: u64) -> io::Result<f64> {
        Ok((self.collected(kind, number)? as f64 / number as f64).round())
    }

    /// Returns the same without those of beginning and ending: `(collected(3000) - collected(1000)) / 2000`.
    ///
    /// # Errors
    ///
    /// Fails as [`Self::each`] does.
    pub fn each_more(self, kind: &str) -> io::Result<f64> {
        let (many, few) = (self.collected(kind, 3_000)?, self.collected(kind, 1_000)?);
        Ok((many.saturating_sub(few) / 2_000) as f64)
    }

    fn collected(self, kind: &str, number: u64) -> io::Result<u64> {
        let Self(function) = self;
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
            .arg(format!("--toggle-collect={function}"))
            .arg(std::env::current_exe()?)
            .args([COUNT, kind, &number.to_string()])
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        collected(&text)
            .filter(|collected| output.status.success() && *collected > 0)
            .ok_or_else(|| io::Error::other(format!("nothing of {function} was counted for {kind}:\n{text}")))
    }
}

/// Returns the number in valgrind's line "==PID== Collected : NUMBER".
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected"))?;
    line.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_valgrind_prints() {
        let text =
            "==7== Events    : Ir\n==7== Collected : 1748061\n==7== \n==7== I   refs:      1,748,061\n";
        assert_eq!(collected(text), Some(1_748_061));
        assert_eq!(collected("valgrind: no such program\n"), None);
    }
}

//! A gateway whose log is read: its records as text, each with its level.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use traffik_test_support::program::Program;

use super::{Gateway, PROGRAM};

/// Longest wait for a line.
const PATIENCE: Duration = Duration::from_secs(20);

/// The log of a gateway, while it runs.
pub(super) struct Heard(Receiver<String>);

/// Starts a gateway and captures its log.
pub(super) fn heard(options: &[&str]) -> (Gateway, Heard) {
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0"]).args(options).stderr(Stdio::piped());
    let mut gateway = Gateway(Program::run(command));
    let log = gateway.process.stderr.take().unwrap();
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(log).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
    });
    (gateway, Heard(lines))
}

impl Heard {
    /// Waits for the next line with these words, and returns it.
    pub(super) fn line(&mut self, words: &str) -> String {
        let (began, mut others) = (Instant::now(), String::new());
        loop {
            match self.0.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => others = others + &line + "\n",
                Err(_) => panic!("the log has no line with {words:?}:\n{others}"),
            }
        }
    }

    /// Ends the gateway and returns the rest of its log.
    pub(super) fn rest(self, mut gateway: Gateway) -> String {
        gateway.signal("TERM");
        let status = gateway.process.wait().unwrap();
        assert_eq!(status.code(), Some(0));
        self.0.iter().map(|line| line + "\n").collect()
    }

    /// Ends the gateway and returns the faults in the rest of its log, and their ends.
    pub(super) fn faults(self, gateway: Gateway) -> Vec<String> {
        let rest = self.rest(gateway);
        let is_fault = |line: &&str| line.contains(" WARN ") || line.contains(" answers again, after ");
        rest.lines().filter(is_fault).map(str::to_owned).collect()
    }
}

/// Returns the level and the words of a line.
pub(super) fn record(line: &str) -> (&str, &str) {
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.len() == "2026-12-01T00:00:00.000000Z".len() && time.ends_with('Z'), "{line}");
    rest.trim_start().split_once(' ').unwrap()
}

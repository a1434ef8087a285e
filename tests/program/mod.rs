//! A program of the examples as a user runs it: built as it is now, listening on a free port, ended with its value.
//!
//! A test program takes it in with `mod program;`.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A program that says which address it listens on.
pub(crate) struct Program {
    pub(crate) process: Child,
    pub(crate) url: String,
}

impl Program {
    /// Starts a program with what it is to be told, and waits until it listens.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { process, url }
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap_or(&self.url)
    }

    pub(crate) fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &process]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program of an example: cargo builds examples along with all tests, but not with one test alone.
pub(crate) fn built(example: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    // What cargo tells a test of its package would have dependencies built anew: there are some that look at it.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            build.env_remove(name);
        }
    }
    assert!(build.args(["build", "--quiet", "--example", example]).status().unwrap().success());
    let tests = std::env::current_exe().unwrap();
    tests.ancestors().nth(2).unwrap().join("examples").join(example)
}

/// What curl writes; it gives up after 20 s.
pub(crate) fn curl(arguments: &[&str]) -> String {
    let options = ["--silent", "--show-error", "--max-time", "20"];
    let output = Command::new("curl").args(options).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

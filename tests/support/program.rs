//! A program as a user runs it: listening on a free port, ended with its value.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A program that says which address it listens on.
pub struct Program {
    pub process: Child,
    pub url: String,
}

impl Program {
    /// Starts a program, and waits until it listens.
    pub fn run(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { process, url }
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap_or(&self.url)
    }

    pub fn signal(&self, name: &str) {
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

/// The test program once more, for one test of the module that `module_path!()` names.
pub fn again(module: &str, test: &str) -> Command {
    // The name of a test begins below the program's own.
    let path = module.split_once("::").map_or(test.to_owned(), |(_, module)| format!("{module}::{test}"));
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &path, "--nocapture"]);
    command
}

/// Returns the output of curl, which gives up after 20 s.
pub fn curl(arguments: &[&str]) -> String {
    let options = ["--silent", "--show-error", "--max-time", "20"];
    let output = Command::new("curl").args(options).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

//! The scripts that a newcomer runs first: the packages that they install, and their last lines.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use traffik_test_support::folder;

/// A folder of programs that stand in for others, removed when dropped.
struct StandIns(PathBuf);

impl StandIns {
    /// Creates the programs. Each is a name, and the shell commands to run in its place.
    fn new(test: &str, programs: &[(&str, &str)]) -> Self {
        let folder = folder::temporary().join(format!("scripts-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, shell) in programs {
            let path = folder.join(name);
            // Written by another process: a file that is open for writing cannot be run, and a program that
            // another test starts meanwhile inherits the open files of this process for a moment.
            let write = "printf '%s\\n' '#!/bin/sh' \"$1\" >\"$0\" && chmod +x \"$0\"";
            let written = Command::new("sh").args(["-c", write]).arg(&path).arg(shell).status();
            assert!(written.unwrap().success(), "{name}");
        }
        Self(folder)
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let path = format!("{}:{}", self.0.display(), std::env::var("PATH").unwrap());
        let script = folder::workspace().join("scripts").join(script);
        Command::new(script).args(arguments).env("PATH", path).env("HERE", &self.0).output().unwrap()
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned()
}

#[test]
fn the_last_line_counts_and_the_status_tells_of_failures() {
    let result =
        "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
    let failed =
        "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
    for (name, cargo, succeeds, last) in [
        ("all", format!("echo '{result}'; echo '{result}'"), true, "24 passed, 0 failed"),
        ("some", format!("echo '{result}'; echo '{failed}'; exit 101"), false, "15 passed, 2 failed"),
        ("unbuilt", "echo 'error: could not compile' >&2; exit 101".to_owned(), false, "0 passed, 1 failed"),
        ("aborted", format!("echo '{result}'; exit 101"), false, "12 passed, 1 failed"),
    ] {
        let output = StandIns::new(name, &[("cargo", &cargo)]).run("test", &[]);
        assert_eq!((output.status.success(), last_line(&output).as_str()), (succeeds, last), "{name}");
    }
}

/// Each subject runs its test programs, with the filters of its tests' names.
#[test]
fn a_subject_is_its_programs_and_a_name_narrows_it() {
    let every = "test --workspace --all-features --no-fail-fast";
    for (arguments, asked) in [
        (&[][..], "--"),
        (&["units"], "--lib --"),
        (&["laws"], "--test laws --"),
        (&["http", "gone"], "--test http -- gone"),
        (&["redis"], "--test stores -- --skip memcached"),
        (&["memcached", "a_full_server"], "--test stores -- a_full_server --skip redis"),
        (&["locks"], "--test storages --test stores -- locks"),
        (&["locks", "twice"], "--test storages --test stores -- twice"),
        (&["gateway"], "--test gateway --"),
    ] {
        // Nothing is missing, so nothing is installed.
        let installed = [("apt-get", "exit 0"), ("python3", "exit 0"), ("cargo", "echo \"asked $*\"")];
        let output = StandIns::new("subject", &installed).run("test", arguments);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = printed.lines().find_map(|line| line.strip_prefix("asked ")).unwrap_or_default();
        assert_eq!(line, format!("{every} {asked}"), "{arguments:?}");
    }
    let unknown = StandIns::new("unknown", &[]).run("test", &["no-such-subject"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("scripts/test SUBJECT"));
}

#[test]
fn only_what_is_missing_is_installed_and_that_is_said() {
    let apt = "echo \"$@\" >>\"$HERE/asked\"";
    let stand_ins = StandIns::new("install", &[("apt-get", apt), ("sudo", "exec \"$@\"")]);
    let asked = || fs::read_to_string(stand_ins.0.join("asked")).unwrap_or_default();
    assert!(stand_ins.run("install", &["sh=dash"]).status.success());
    assert_eq!(asked(), "");
    // A builtin of the shell, such as `declare`, is not a program.
    let output =
        stand_ins.run("install", &["sh=dash", "no-such-program=its-package,and-another", "declare=third"]);
    assert!(output.status.success());
    assert_eq!(last_line(&output), "installing: its-package and-another third");
    assert_eq!(asked(), "update -qq\ninstall -qq -y --no-install-recommends its-package and-another third\n");
}

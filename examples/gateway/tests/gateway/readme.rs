//! The gateway's README can be followed: its file passes `--check`, and its options exist.

use std::process::Command;

use crate::PROGRAM;

const README: &str = include_str!("../../README.md");

#[test]
fn the_file_of_the_readme_passes_its_check() {
    let file = README.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let path = std::env::temp_dir().join(format!("traffik-readme-{}.toml", std::process::id()));
    std::fs::write(&path, file).unwrap();
    let output = Command::new(PROGRAM).arg("--check").arg("--config").arg(&path).output().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let limits = String::from_utf8(output.stdout).unwrap();
    assert!(limits.contains("logins") && limits.contains("api"), "{limits}");
}

#[test]
fn every_option_of_the_readme_exists() {
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let words = README.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    // Those of cargo, curl and memcached aside.
    let theirs = ["--release", "--path", "--profile"];
    for option in words.filter(|word| word.starts_with("--") && word.len() > 3 && !theirs.contains(word)) {
        assert!(help.contains(option), "{option}");
    }
}

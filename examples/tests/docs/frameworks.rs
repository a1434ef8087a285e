//! The programs for each framework, built as their users build them: each crate alone, outside this
//! workspace, with the features that it names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use traffik_test_support::folder;
use traffik_test_support::servers::Redis;

/// Most lines of a file of these programs: a page.
const PAGE: usize = 60;

/// Runs cargo in a workspace, with a target directory of its own, and returns the standard output.
fn cargo(workspace: &Path, arguments: &[&str], server: &str) -> String {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or("cargo".to_owned()));
    cargo.args(arguments).current_dir(workspace).env("TRAFFIK_REDIS", server);
    cargo.env("CARGO_TARGET_DIR", folder::target().join("frameworks"));
    let output = cargo.output().unwrap();
    let [printed, errors] =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success(), "cargo {arguments:?}: {printed}{errors}");
    assert!(!errors.contains("SKIPPED"), "cargo {arguments:?}: {errors}");
    printed
}

/// Returns the folders of the crates of a workspace.
fn crates(workspace: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(workspace).unwrap().map(|entry| entry.unwrap().path());
    let mut crates: Vec<_> = folders.filter(|folder| folder.join("Cargo.toml").exists()).collect();
    crates.sort();
    crates
}

#[test]
fn frameworks() {
    let workspace = folder::workspace().join("examples/frameworks");
    let crates = crates(&workspace);
    assert!(crates.len() >= 8, "{crates:?}");
    let redis = Redis::start();
    cargo(&workspace, &["fetch", "--locked"], &redis.url());
    for folder in crates {
        for file in fs::read_dir(folder.join("src")).unwrap().map(|entry| entry.unwrap().path()) {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= PAGE, "{} has {lines} lines, and {PAGE} at most are a page", file.display());
        }
        let name = folder.file_name().unwrap().to_str().unwrap();
        // Each crate alone, so that the features of one crate do not hide features that another lacks.
        let printed = cargo(&workspace, &["test", "--offline", "--locked", "-p", name], &redis.url());
        assert!(printed.contains("test result: ok. 1 passed; 0 failed; 0 ignored"), "{name}: {printed}");
    }
}

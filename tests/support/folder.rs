//! Where tests keep files: below cargo's target folder, so that what a killed test leaves there goes with
//! `cargo clean`.

use std::path::{Path, PathBuf};

/// The target folder that this test program was built in.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    // target/PROFILE/deps/PROGRAM
    program.ancestors().nth(3).unwrap().to_owned()
}

/// The folder for the files of tests.
pub fn temporary() -> PathBuf {
    let folder = target().join("tmp");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

//! A fresh directory that is removed with its value.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Directory(PathBuf);

impl Directory {
    /// Makes one under cargo's directory for the files of tests, so that what a killed test program leaves
    /// there goes with `cargo clean`.
    pub(super) fn new(name: &str) -> Self {
        // Counted, so that no name comes twice: who holds on to one finds its own directory there, or none.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = crate::folder::temporary().join(format!("{name}-{process}-{count}"));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Left by a process of this number that was killed.
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}: {error}", path.display())
                }
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn empty(&self) {
        fs::remove_dir_all(&self.0).unwrap();
        fs::create_dir(&self.0).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

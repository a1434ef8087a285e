//! Notices changes of files, and waits until they are whole.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind};
use tokio::time::{Interval, interval};

use crate::config::file;
use crate::server::signals::on;

/// Interval at which files are checked for changes.
const LOOK: Duration = Duration::from_millis(500);

/// Files, each with its content, or the reason why it cannot be read.
type FileContents = Vec<(PathBuf, Result<Vec<u8>, String>)>;

/// The watch on files.
pub(super) struct FileWatch<F> {
    list: F,
    /// The contents that are in use.
    known: FileContents,
    /// The contents at the last look.
    seen: FileContents,
    looks: Interval,
    hangup: Signal,
}

impl<F: Fn() -> Vec<PathBuf>> FileWatch<F> {
    /// Reads the files that `list` returns now, which is asked again at each look.
    ///
    /// # Errors
    ///
    /// Fails if the system refuses a handler for SIGHUP.
    pub(super) fn new(list: F) -> Result<Self, String> {
        let known = contents(&list);
        let (seen, hangup) = (known.clone(), on(SignalKind::hangup())?);
        Ok(Self { list, known, seen, looks: interval(LOOK), hangup })
    }

    /// Waits without a bound until a file has changed, or SIGHUP comes. Returns the files.
    ///
    /// A dropped future forgets a SIGHUP that has just come.
    pub(super) async fn changed(&mut self) -> Vec<&PathBuf> {
        let mut is_forced = false;
        loop {
            tokio::select! {
                _ = self.looks.tick() => {}
                _ = self.hangup.recv() => is_forced = true,
            }
            let before = std::mem::replace(&mut self.seen, contents(&self.list));
            // A file that changed since the last look may be half written, so it is looked at again.
            if self.seen == before && (is_forced || self.seen != self.known) {
                self.known = self.seen.clone();
                return self.known.iter().map(|(path, _)| path).collect();
            }
        }
    }
}

/// Reads files, to notice a change.
fn contents(list: &impl Fn() -> Vec<PathBuf>) -> FileContents {
    list().into_iter().map(|path| (path.clone(), file::bytes(&path))).collect()
}

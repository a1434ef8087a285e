//! The reload of the file: on a change, and on SIGHUP.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use traffik::runtime::{Runtime, Tokio};

use crate::config::file;
use crate::config::options::Options;
use crate::gateway::Gateway;
use crate::observe::counters::{self, COUNTERS};
use crate::server::plan_texts::PlanTexts;

/// Interval at which the file is checked for changes.
const LOOK: Duration = Duration::from_millis(500);

/// The files of throttles, each with its content if it can be read.
pub(super) type FileContents = Vec<(PathBuf, Option<Vec<u8>>)>;

/// Reads the files of throttles, to notice a change. What is no whole file counts as not readable.
pub(super) fn contents(options: &Options) -> FileContents {
    let read = |path: PathBuf| (path.clone(), file::bytes(&path).ok());
    options.files().into_iter().map(read).collect()
}

/// Reloads the file when it changes and on SIGHUP. If the file has an error, logs it and keeps the throttles.
pub(super) async fn watch(
    options: Options,
    mut known: FileContents,
    mut described: PlanTexts,
    mut hangup: Signal,
    gateway: Arc<Gateway>,
) {
    let (mut looks, mut seen, mut is_forced) = (Tokio.interval(LOOK), known.clone(), false);
    loop {
        tokio::select! {
            () = looks.tick() => {}
            _ = hangup.recv() => is_forced = true,
        }
        let before = std::mem::replace(&mut seen, contents(&options));
        // A file that changed since the last look may be half written, so it is looked at again.
        if seen != before || (!is_forced && seen == known) {
            continue;
        }
        (known, is_forced) = (seen.clone(), false);
        match options.plans().and_then(|plans| Ok((gateway.replace(&plans)?, plans))) {
            Ok((losses, plans)) => {
                counters::count(&COUNTERS.reloads);
                let next = PlanTexts::of(&plans);
                let changes = next.changes_since(&described);
                described = next;
                let words: String = changes.iter().chain(&losses).map(|it| format!("; {it}")).collect();
                let files: Vec<_> = known.iter().map(|(path, _)| path.display().to_string()).collect();
                tracing::info!("reloaded {}{words}", files.join(", "));
            }
            Err(error) => {
                counters::count(&COUNTERS.reloads_refused);
                tracing::error!("{error}\nthe previous configuration stays in use");
            }
        }
    }
}

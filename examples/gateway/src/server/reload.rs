//! The reload of the throttles and of the secrets.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::options::Options;
use crate::gateway::Gateway;
use crate::observe::counters::{self, COUNTERS};
use crate::server::file_watch::FileWatch;
use crate::server::plan_texts::PlanTexts;

/// Reloads the throttles when their files change. If a file has an error, logs it and keeps the throttles.
pub(super) async fn throttles(
    options: Options,
    mut watch: FileWatch<impl Fn() -> Vec<PathBuf>>,
    mut described: PlanTexts,
    gateway: Arc<Gateway>,
) {
    loop {
        let changed = watch.changed().await;
        match options.plans().and_then(|plans| Ok((gateway.replace(&plans)?, plans))) {
            Ok((losses, plans)) => {
                counters::count(&COUNTERS.reloads);
                let next = PlanTexts::of(&plans);
                let changes = next.changes_since(&described);
                described = next;
                let words: String = changes.iter().chain(&losses).map(|it| format!("; {it}")).collect();
                let files: Vec<_> = changed.iter().map(|path| path.display().to_string()).collect();
                tracing::info!("reloaded {}{words}", files.join(", "));
            }
            Err(error) => {
                counters::count(&COUNTERS.reloads_refused);
                tracing::error!("{error}\nthe previous configuration stays in use");
            }
        }
    }
}

/// Reads a secret again when its files change. If one has an error, logs it and keeps the secret.
pub(super) async fn secret(
    name: &str,
    read: impl Fn() -> Result<(), String>,
    mut watch: FileWatch<impl Fn() -> Vec<PathBuf>>,
) {
    loop {
        watch.changed().await;
        match read() {
            Ok(()) => tracing::info!("the {name} was read again"),
            Err(error) => tracing::error!("{error}\nthe previous {name} stays in use"),
        }
    }
}

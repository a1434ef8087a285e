//! The signals of the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Installs a handler for a signal.
///
/// # Errors
///
/// Fails if the system refuses the handler.
pub(crate) fn on(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("cannot handle signal {}: {error}", kind.as_raw_value()))
}

/// Ends the process at once on a further SIGTERM or SIGINT, with 128 plus the number of the signal, as shells
/// report a process that a signal ended.
pub(crate) async fn end_on_second(mut terminate: Signal, mut interrupt: Signal) {
    let kind = tokio::select! {
        _ = terminate.recv() => SignalKind::terminate(),
        _ = interrupt.recv() => SignalKind::interrupt(),
    };
    std::process::exit(kind.as_raw_value().saturating_add(128))
}

//! Warnings for the operator, each logged once.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A sink for log lines.
pub(crate) type LogWriter = Arc<dyn Fn(&str) + Send + Sync>;

/// Returns a sink that writes to standard error. It ignores failures, since standard error may be closed.
pub(crate) fn standard_error() -> LogWriter {
    Arc::new(|line| drop(writeln!(std::io::stderr(), "traffik: {line}")))
}

/// A warning that is logged once, however often its cause occurs.
pub(crate) struct Warning {
    writer: LogWriter,
    is_given: AtomicBool,
}

impl Warning {
    pub(crate) fn new(writer: LogWriter) -> Self {
        Self { writer, is_given: AtomicBool::new(false) }
    }

    /// Logs the line, unless it was logged before.
    pub(crate) fn give(&self, line: impl FnOnce() -> String) {
        if !self.is_given.swap(true, Ordering::Relaxed) {
            (self.writer)(&line());
        }
    }
}

//! A line for whoever runs the program, about what only they can mend: written once.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Writes a line somewhere.
pub(crate) type LogWriter = Arc<dyn Fn(&str) + Send + Sync>;

/// Writes to standard error, which may be gone.
pub(crate) fn standard_error() -> LogWriter {
    Arc::new(|line| drop(writeln!(std::io::stderr(), "traffik: {line}")))
}

/// A warning of one thing, however often and wherever it is found.
pub(crate) struct Warning {
    writer: LogWriter,
    is_given: AtomicBool,
}

impl Warning {
    pub(crate) fn new(writer: LogWriter) -> Self {
        Self { writer, is_given: AtomicBool::new(false) }
    }

    /// Writes the line, unless one was written.
    pub(crate) fn give(&self, line: impl FnOnce() -> String) {
        if !self.is_given.swap(true, Ordering::Relaxed) {
            (self.writer)(&line());
        }
    }
}

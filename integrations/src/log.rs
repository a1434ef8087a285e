//! A line for whoever runs the program, about what only they can mend.

/// Writes a line at the level of an error: by `tracing` (feature `tracing`), else to standard error.
pub(crate) fn error(text: &str) {
    #[cfg(feature = "tracing")]
    tracing::error!("{text}");
    #[cfg(not(feature = "tracing"))]
    eprintln!("traffik: {text}");
}

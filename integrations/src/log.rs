//! Log lines for the operator of the program.

/// Writes a line at the level of an error: with `tracing` (feature `tracing`), else to standard error.
pub(crate) fn error(text: &str) {
    #[cfg(feature = "tracing")]
    tracing::error!("{text}");
    #[cfg(not(feature = "tracing"))]
    eprintln!("traffik: {text}");
}

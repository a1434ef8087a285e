//! Values on a store that are no states of the limits that ask for them: counted, and warned of once.
//!
//! Such a value counts as a key never seen. If another program writes to the same names, keys get their whole
//! limit again and again, so the operator must know.

use std::sync::atomic::Ordering;

use portable_atomic::AtomicU64;

use super::warning::{LogWriter, Warning};

/// The values that a storage could not read.
pub(crate) struct CorruptValues {
    count: AtomicU64,
    warning: Warning,
    /// The place in the warning, such as `in the namespace api on Redis`.
    place: String,
}

impl CorruptValues {
    pub(crate) fn new(store: &str, namespace: &str, writer: LogWriter) -> Self {
        let place = format!("in the namespace {namespace} on {store}");
        Self { count: AtomicU64::new(0), warning: Warning::new(writer), place }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Counts one more value, and logs a warning unless this storage logged one. The warning leaves out the
    /// key, which may be a secret.
    #[cold]
    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.warning.give(|| {
            format!(
                "a value {} is no state of the limit that read it, so its key has its whole limit again; \
                 if another program writes there, give this one its own namespace",
                self.place
            )
        });
    }
}

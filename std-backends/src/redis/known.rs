//! The scripts that a storage has run: sent to the server on each new connection, so that no call has to.

use spin::mutex::SpinMutex;

/// The texts of scripts, each once.
#[derive(Default)]
pub(super) struct KnownScripts(SpinMutex<Vec<&'static str>>);

impl KnownScripts {
    /// Notes a script that is about to be run.
    #[inline]
    pub(super) fn note(&self, text: &'static str) {
        let mut known = self.0.lock();
        if !known.iter().any(|it| std::ptr::eq(*it, text)) {
            known.push(text);
        }
    }

    pub(super) fn all(&self) -> Vec<&'static str> {
        self.0.lock().clone()
    }
}

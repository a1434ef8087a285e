//! The scripts that a storage has run, loaded into the server on each new connection so that no call has to.

use std::sync::atomic::{AtomicPtr, Ordering};

use spin::mutex::SpinMutex;

/// A set of script texts.
#[derive(Default)]
pub(super) struct KnownScripts {
    /// The script that was run last. Most storages run one, and take no lock for it.
    last: AtomicPtr<u8>,
    all: SpinMutex<Vec<&'static str>>,
}

impl KnownScripts {
    /// Records a script that is about to be run.
    #[inline]
    pub(super) fn note(&self, text: &'static str) {
        if self.last.load(Ordering::Relaxed) != text.as_ptr().cast_mut() {
            self.note_another(text);
        }
    }

    #[cold]
    // Texts are compared by address: all are constants, or live as long as the program.
    fn note_another(&self, text: &'static str) {
        let mut all = self.all.lock();
        if !all.iter().any(|it| std::ptr::eq(*it, text)) {
            all.push(text);
        }
        self.last.store(text.as_ptr().cast_mut(), Ordering::Relaxed);
    }

    #[cfg(any(feature = "smol", feature = "tokio"))]
    pub(super) fn all(&self) -> Vec<&'static str> {
        self.all.lock().clone()
    }
}

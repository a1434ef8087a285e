//! The lines that storages write.

use std::sync::{Arc, Mutex};

/// The lines that a storage wrote.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub(crate) fn writer(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let lines = self.clone();
        move |line| lines.0.lock().unwrap().push(line.to_owned())
    }

    pub(crate) fn get(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Asserts that there is one line, which says all of this.
    pub(crate) fn assert_one(&self, words: &[&str]) {
        let lines = self.get();
        assert!(lines.len() == 1 && words.iter().all(|word| lines[0].contains(word)), "{lines:?}");
    }
}

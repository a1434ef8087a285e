//! Keys that are denied so often that their counts have to be written anew.
//!
//! A count can be swapped only while nobody counts on it. So whoever finds one far below zero stops counting
//! on it in this process: meanwhile its checks load what they decide by. Other processes find the same, and
//! do so, too.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::mutex::lock;

#[derive(Default)]
pub(super) struct Floods {
    /// How many there are, so that nobody takes the lock to learn that there are none.
    many: AtomicUsize,
    keys: Mutex<HashSet<String>>,
}

impl Floods {
    /// Whether a key is not counted on now.
    pub(super) fn is_stemmed(&self, key: &str) -> bool {
        self.many.load(Ordering::Relaxed) > 0 && lock(&self.keys).contains(key)
    }

    /// Stops counting on a key until the answer is dropped; `None` if somebody else has.
    pub(super) fn stem<'a>(&'a self, key: &'a str) -> Option<Stemmed<'a>> {
        lock(&self.keys).insert(key.to_owned()).then(|| {
            self.many.fetch_add(1, Ordering::Relaxed);
            Stemmed { floods: self, key }
        })
    }
}

/// A key is not counted on while this lives.
pub(super) struct Stemmed<'a> {
    floods: &'a Floods,
    key: &'a str,
}

impl Drop for Stemmed<'_> {
    fn drop(&mut self) {
        lock(&self.floods.keys).remove(self.key);
        self.floods.many.fetch_sub(1, Ordering::Relaxed);
    }
}

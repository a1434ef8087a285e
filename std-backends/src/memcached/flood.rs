//! Keys with so many denials that their counts have to be reset.
//!
//! A count can be swapped only while no process decrements it. So every process that finds a count far below
//! zero stops counting on it: its checks load the state instead, until the count is reset.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::mutex::lock;

/// The keys that this process is resetting.
#[derive(Default)]
pub(super) struct Floods {
    /// The number of `keys`, so that checks take no lock while there are none.
    many: AtomicUsize,
    keys: Mutex<HashSet<String>>,
}

impl Floods {
    /// Returns whether checks of a key must not count on the server now.
    pub(super) fn is_flooded(&self, key: &str) -> bool {
        self.many.load(Ordering::Relaxed) > 0 && lock(&self.keys).contains(key)
    }

    /// Stops counting on a key until the guard is dropped. Returns `None` if another task holds a guard.
    pub(super) fn guard<'a>(&'a self, key: &'a str) -> Option<FloodGuard<'a>> {
        lock(&self.keys).insert(key.to_owned()).then(|| {
            self.many.fetch_add(1, Ordering::Relaxed);
            FloodGuard { floods: self, key }
        })
    }
}

/// A guard that keeps one key from being counted on.
pub(super) struct FloodGuard<'a> {
    floods: &'a Floods,
    key: &'a str,
}

impl Drop for FloodGuard<'_> {
    fn drop(&mut self) {
        lock(&self.floods.keys).remove(self.key);
        self.floods.many.fetch_sub(1, Ordering::Relaxed);
    }
}

//! Random numbers of the operating system.

use std::hash::{BuildHasher, RandomState};

/// Returns a random number: the keyed hash of the standard library's maps, whose keys come from the
/// operating system.
///
/// The standard library gives each call of a thread another key. A forked process has the same keys, so the
/// hash covers the process id.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

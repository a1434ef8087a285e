//! Random numbers where a program is one process.

use std::hash::{BuildHasher, RandomState};

/// Returns a random number, as where there are several processes; here a program cannot ask which it is.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

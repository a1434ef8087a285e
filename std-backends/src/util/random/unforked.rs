//! Random numbers on targets where a program is one process.

use std::hash::{BuildHasher, RandomState};

/// Returns a random number. It needs no process id, which a program cannot ask for here.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

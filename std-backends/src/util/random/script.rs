//! Random numbers of the JavaScript around the program.

/// Returns a random number of `crypto.getRandomValues`, which every browser, Node and Worker has. The
/// standard library has no random numbers on this target.
pub(crate) fn random() -> u64 {
    // If it fails, numbers are not random, and clients may find keys that collide. Limits still apply.
    getrandom::u64().unwrap_or_default()
}

//! States without the feature `serde`, which have only their encoded form.

/// Implements nothing.
macro_rules! serde_as_bytes {
    ([$($generic:tt)*] $state:ty) => {};
}
pub(crate) use serde_as_bytes;

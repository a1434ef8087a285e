//! Without the feature `serde`, states have their encoded form alone.

/// Nothing.
macro_rules! serde_as_bytes {
    ([$($generic:tt)*] $state:ty) => {};
}
pub(crate) use serde_as_bytes;

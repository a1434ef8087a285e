//! A service behind a gate; a tower service, a hyper service, or both, by what it wraps.

/// Passes on what a gate admits, such as a [`Throttle`](crate::Throttle), and answers the rest itself.
#[derive(Clone, Debug)]
pub struct Throttled<T, G> {
    pub(crate) inner: T,
    pub(crate) gate: G,
}

impl<T, G> Throttled<T, G> {
    /// Puts `gate` in front of `inner`.
    pub const fn new(inner: T, gate: G) -> Self {
        Self { inner, gate }
    }

    /// The service behind.
    pub const fn inner(&self) -> &T {
        &self.inner
    }
}

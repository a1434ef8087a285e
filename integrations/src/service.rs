//! A service behind a throttle; a tower service, a hyper service, or both, by what it wraps.

use traffik_core::Strategy;

use crate::throttle::Throttle;

/// Passes on what a throttle admits, and answers the rest itself.
#[derive(Debug)]
pub struct Throttled<T, S: Strategy, M> {
    pub(crate) inner: T,
    pub(crate) throttle: Throttle<S, M>,
}

impl<T, S: Strategy, M> Throttled<T, S, M> {
    /// Puts `throttle` in front of `inner`.
    pub const fn new(inner: T, throttle: Throttle<S, M>) -> Self {
        Self { inner, throttle }
    }

    /// The service behind.
    pub const fn inner(&self) -> &T {
        &self.inner
    }
}

impl<T: Clone, S: Strategy, M> Clone for Throttled<T, S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), throttle: self.throttle.clone() }
    }
}

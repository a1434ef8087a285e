//! Puts a throttle in front of any service.

use tower_layer::Layer;
use traffik_core::Strategy;

use crate::{Throttle, Throttled};

/// A layer that limits requests by a [`Throttle`].
///
/// All services it makes share the throttle, so a limit holds across routes and connections.
#[derive(Debug)]
pub struct ThrottleLayer<S: Strategy, M> {
    throttle: Throttle<S, M>,
}

impl<S: Strategy, M> ThrottleLayer<S, M> {
    /// Limits by this throttle.
    #[must_use]
    pub const fn new(throttle: Throttle<S, M>) -> Self {
        Self { throttle }
    }
}

impl<T, S: Strategy, M> Layer<T> for ThrottleLayer<S, M> {
    type Service = Throttled<T, S, M>;

    fn layer(&self, inner: T) -> Self::Service {
        Throttled::new(inner, self.throttle.clone())
    }
}

impl<S: Strategy, M> Clone for ThrottleLayer<S, M> {
    fn clone(&self) -> Self {
        Self { throttle: self.throttle.clone() }
    }
}

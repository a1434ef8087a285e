//! Puts a throttle in front of any service.

use tower_layer::Layer;

use crate::Throttled;

/// A layer that limits requests by a gate, such as a [`Throttle`](crate::Throttle).
///
/// All services it makes share the gate, so a limit holds across routes and connections.
#[derive(Clone, Debug)]
pub struct ThrottleLayer<G> {
    gate: G,
}

impl<G> ThrottleLayer<G> {
    /// Limits by this gate.
    #[must_use]
    pub const fn new(gate: G) -> Self {
        Self { gate }
    }
}

impl<T, G: Clone> Layer<T> for ThrottleLayer<G> {
    type Service = Throttled<T, G>;

    fn layer(&self, inner: T) -> Self::Service {
        Throttled::new(inner, self.gate.clone())
    }
}

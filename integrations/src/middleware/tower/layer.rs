//! Puts a throttle in front of any tower service.

use tower_layer::Layer;

use crate::{ThrottleLayer, Throttled};

impl<T, G: Clone> Layer<T> for ThrottleLayer<G> {
    type Service = Throttled<T, G>;

    fn layer(&self, inner: T) -> Self::Service {
        Throttled::new(inner, self.gate.clone())
    }
}

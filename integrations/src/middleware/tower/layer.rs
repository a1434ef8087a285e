//! The tower layer.

use tower_layer::Layer;

use crate::{ThrottleLayer, Throttled};

impl<T, G: Clone> Layer<T> for ThrottleLayer<G> {
    type Service = Throttled<T, G>;

    fn layer(&self, inner: T) -> Self::Service {
        Throttled::new(inner, self.admission.clone())
    }
}

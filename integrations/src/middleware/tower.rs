//! The middleware as a tower layer and service.

mod layer;
mod service;

pub use service::Ready;

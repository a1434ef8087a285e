//! The tower layer and the tower service.

mod layer;
mod service;

pub use service::Ready;

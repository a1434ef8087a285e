//! The middleware of actix-web 4, whose heads are those of `http` 0.2 and whose services stay on one thread.

mod future;
mod head;
mod service;
mod standing;

pub use future::ActixFuture;

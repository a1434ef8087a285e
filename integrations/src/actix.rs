//! The middleware of actix-web 4, whose requests are those of `http` 0.2 and whose services stay on one
//! thread.

mod future;
mod head;
mod service;
mod status;

pub use future::ActixFuture;

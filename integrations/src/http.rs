//! Requests, and answers to them.

pub(crate) mod denial;
pub(crate) mod grpc;
pub mod headers;
mod merge;
pub(crate) mod on_error;
pub(crate) mod path;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod server;

pub use denial::Denial;
pub use headers::Dialect;
pub use on_error::{OnError, Remedy, Trouble};
pub use request::{Fallible, Refusal, RequestParts, Stop};

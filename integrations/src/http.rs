//! Requests and the answers to them.

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
pub use headers::HeaderFormat;
pub use on_error::{ErrorAction, ErrorContext, OnError};
pub use request::{Fallible, Refusal, RequestError, RequestParts};

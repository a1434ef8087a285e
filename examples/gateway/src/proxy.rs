//! The reverse proxy: the request to the upstream, and the response to the client.

mod connector;
pub(crate) mod echo;
pub(crate) mod fields;
pub(crate) mod received;
mod streams;
pub(crate) mod target;
mod tunnel;
pub(crate) mod upstream;

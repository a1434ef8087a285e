//! The reverse proxy: the request to the upstream, and the response to the client.

pub(crate) mod echo;
pub(crate) mod fields;
pub(crate) mod target;
mod tunnel;
pub(crate) mod upstream;

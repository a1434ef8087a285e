//! The reverse proxy: the request to the upstream, and the response to the client.

pub(crate) mod echo;
pub(crate) mod target;
pub(crate) mod upstream;

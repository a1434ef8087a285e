//! The listeners: places for connections, and the deadlines of their clients.

pub(crate) mod accept;
pub(crate) mod activity;
mod body;
mod connection;
pub(crate) mod file_limit;
pub(crate) mod places;
pub(crate) mod route;
mod stream;
pub(crate) mod tls;

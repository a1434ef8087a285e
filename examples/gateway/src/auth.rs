//! Forward auth: a proxy asks whether it may pass a request on.

mod question;
pub(crate) mod service;

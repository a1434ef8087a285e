//! The command line and the file of throttles.

mod auth_options;
pub(crate) mod file;
mod listener_options;
mod operation_options;
pub(crate) mod options;
pub(crate) mod proxy_options;

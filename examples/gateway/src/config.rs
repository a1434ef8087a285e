//! The command line and the file of throttles.

mod auth_options;
mod envoy_file;
pub(crate) mod file;
pub(crate) mod host_name;
pub(crate) mod listener_options;
pub(crate) mod operation_options;
pub(crate) mod options;
pub(crate) mod proxy_options;
mod rls_options;

//! The command line and the file of throttles.

pub(crate) mod file;
pub(crate) mod options;

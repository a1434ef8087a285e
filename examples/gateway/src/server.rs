//! The listeners, and the life of the process.

pub(crate) mod run;

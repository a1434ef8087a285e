//! The figures that operators watch: the log, the counters, and the clients denied most.

pub(crate) mod counters;
pub(crate) mod denial_log;
pub(crate) mod denied_clients;
pub(crate) mod families;
mod line_queue;
pub(crate) mod log;

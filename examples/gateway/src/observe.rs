//! The figures that operators watch: the log, the counters, the clients denied most, and the samples of
//! the live page.

pub(crate) mod counters;
pub(crate) mod denial_log;
pub(crate) mod denied_clients;
pub(crate) mod events;
pub(crate) mod families;
mod hour;
mod line_queue;
pub(crate) mod log;
mod totals;

//! The storages of throttles, and what survives a reload.

mod client;
mod history;
pub(crate) mod metrics;
pub(crate) mod store;

//! The throttles of a plan, in front of the service behind them.

pub(crate) mod charge;
pub(crate) mod descriptor_index;
pub(crate) mod doors;
pub(crate) mod pipeline;

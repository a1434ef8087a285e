//! The live page's figures: an hour of the busiest throttles, and a sample each second.

pub(crate) mod events;
mod hour;
mod totals;

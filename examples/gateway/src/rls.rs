//! Envoy's rate limit service: the descriptors of a call, their charges, and the answer.

mod answer;
mod decide;
pub(crate) mod listener;
mod matches;
mod units;

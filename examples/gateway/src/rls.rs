//! Envoy's rate limit service: the descriptors of a call, their charges, and the answer.

mod answer;
mod decide;
mod matches;
pub(crate) mod service;
mod units;

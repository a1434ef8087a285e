//! Strategies under the laws and against naive models, and the laws against broken strategies.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod alternating;
mod bite;
mod broken;
mod coarse_clock;
mod conformance;
mod erased;
mod every;
mod golden;
mod keys;
mod leaky;
mod model;
mod others;
mod parts;
mod queue_order;
mod quota;
mod rate;
mod serde;
mod shape;
mod shares;
mod sliding;
mod wrappers;

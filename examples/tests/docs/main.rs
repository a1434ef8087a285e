//! The examples, the README and the scripts: what a newcomer runs first does what it says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod dependencies;
mod examples;
mod firmware;
mod frameworks;
mod house;
mod on_runtimes;
mod readme;
mod scripts;

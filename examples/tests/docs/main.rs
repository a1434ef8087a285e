//! The examples, the README, the scripts and the layout of the code: they do and say what they promise.

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
mod plans;
mod readme;
mod scripts;
mod shared_worker;

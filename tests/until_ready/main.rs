//! Waiting is fair: in the order of arrival, at the exact times, with one wake each, and nothing lost when some give up.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod awaited;
mod crowd;
mod line;
mod runs;
mod runtimes;
mod threads;

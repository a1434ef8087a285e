//! Waiting is fair: in the order of arrival, at the exact times, with one wake each, and nothing lost when some give up.

mod awaited;
mod crowd;
mod line;
mod runs;
mod runtimes;
mod threads;

//! Waiting is fair: in the order of arrival, at the exact times, with two wakes each at most, and nothing
//! lost when some give up.

mod awaited;
mod classes;
mod crowd;
mod failing;
mod firmware;
mod late;
mod line;
mod runs;
mod runtimes;
mod threads;
mod turns;

//! Runtimes: what each of them owes, virtual time, and waiting in line.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod duties;
mod each;
mod manual;
mod until_ready;

//! Programs that measure each limit on small cores.
//!
//! | program | measures |
//! |---|---|
//! | `footprint` | the size of a program with one limit or without; never run |
//! | `costs` | RAM of a key, stack and instructions of a check, for each limit |
//! | `instructions` | instructions of a check in a table of 32 keys |
//!
//! `scripts/firmware` builds them, runs them in an emulator, and compares the figures with the promised
//! bounds.
#![no_std]

pub mod limits;
pub mod registers;

use traffik_core::{Clock, Shared, Timestamp};

/// The storage of a single key that can be a `static`.
pub type SharedKey<S, C> = traffik_core::OneKey<S, C, Shared<0>>;

/// The clock of the board.
pub struct Uptime;

impl Clock for Uptime {
    #[inline]
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(board::micros())
    }
}

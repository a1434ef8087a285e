//! The time driver of the sensor node, which is the program `firmware`.
//!
//! | other package | purpose |
//! |---|---|
//! | `vectors` | the same decisions on each target and on the host, for comparison |
//! | `figures` | the costs of each limit: flash, RAM, stack and instructions |
//! | `proof` | the proof that no limit can panic |
//! | `board` | support for programs on an emulated board |
//!
//! `scripts/firmware` builds all of these, runs them in an emulator, and compares the figures with the
//! promised bounds.
#![no_std]

pub mod driver;

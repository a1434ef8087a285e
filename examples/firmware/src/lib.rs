//! The time of the sensor node, which is the program `firmware`.
//!
//! | package beside it | what it is for |
//! |---|---|
//! | `vectors` | decides the same on each target and on the host, for comparison |
//! | `figures` | what each limit takes: flash, RAM, stack and instructions |
//! | `proof` | that none can panic |
//! | `board` | what these programs need of an emulated board |
//!
//! `scripts/firmware` builds them, runs them in an emulator, and holds the figures against what is promised.
#![no_std]

pub mod driver;

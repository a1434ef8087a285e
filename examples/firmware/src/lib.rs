//! What the programs of this package share.
//!
//! | program | what it is for |
//! |---|---|
//! | `firmware` | a sensor node, as one would write it |
//! | `footprint` | the size of a program with a limit and without, and that none can panic; never run |
//! | `instructions` | what a check takes |
//!
//! The package `vectors` beside it decides the same on the target and on the host, for comparison.
//! `scripts/firmware` builds them, runs them in an emulator, and holds the figures against what is promised.
#![no_std]

pub mod driver;

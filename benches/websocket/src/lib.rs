//! What the programs here have in common: sockets out of memory, and those who read them.

pub mod read;
pub mod wire;

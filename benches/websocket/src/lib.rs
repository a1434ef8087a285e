//! The parts that the programs here share: sockets out of memory, and their reader.

pub mod read;
pub mod wire;

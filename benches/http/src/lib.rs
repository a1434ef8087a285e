//! The parts that the programs here share: the services that are compared, and how they are called.

pub mod calls;
pub mod service;

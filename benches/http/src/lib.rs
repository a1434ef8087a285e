//! What the programs here have in common: the services that are compared, and how they are called.

pub mod calls;
pub mod service;

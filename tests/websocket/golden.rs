//! Goldens of what becomes of messages: what the reader sees of them, what the peer is told, what observers hear,
//! and what is left in the storages.
//!
//! Each scene is a connection and what its peer does, on virtual time over sockets in memory. It is played on a
//! storage of this process and on one elsewhere. What differs between the two is told after the first.

mod actions;
mod counts;
mod failures;
mod stage;

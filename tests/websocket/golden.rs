//! Goldens of messages: the messages that the reader sees, the notices to the peer, the events of observers,
//! and the remaining costs in the storages.
//!
//! Each scene is a connection and the steps of its peer, on virtual time over sockets in memory. It is played
//! on a storage of this process and on one elsewhere. The differences between the two follow the first.

mod actions;
mod counts;
mod failures;
mod stage;

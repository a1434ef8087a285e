//! Limits on the messages of WebSocket connections: on virtual time over tungstenite in memory, and over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod actions;
mod custom;
#[path = "../faulty/mod.rs"]
mod faulty;
mod patience;
#[path = "../servers/mod.rs"]
mod servers;
mod sockets;
mod storage;
mod stores;
mod waiting;
mod whose;
mod wire;

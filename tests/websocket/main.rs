//! Limits on the messages of WebSocket connections: on virtual time over tungstenite in memory, and over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod actions;
mod axum;
mod custom;
mod golden;
mod patience;
mod sockets;
mod storage;
mod stores;
mod waiting;
mod whose;
mod wire;

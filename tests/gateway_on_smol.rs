//! The gateway on smol: the same tests as on tokio.

#[path = "gateway/main.rs"]
mod gateway;

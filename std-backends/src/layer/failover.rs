//! Asks another storage where the first one fails.

mod builder;
mod outbox;
mod reconcile;
mod route;
mod storage;

pub use builder::{FailoverBuilder, FailoverChange};
pub use storage::Failover;

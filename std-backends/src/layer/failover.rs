//! The failover, which asks another storage where the first one fails.

mod builder;
mod outbox;
mod primary_node;
mod reconcile;
mod router;
mod settings;
mod storage;

pub use builder::FailoverBuilder;
pub use settings::FailoverChange;
pub use storage::Failover;

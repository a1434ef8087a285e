//! The retry, which asks a storage again after growing waits.

mod builder;
mod settings;
mod storage;

pub use builder::RetryBuilder;
pub use settings::is_transient;
pub use storage::Retry;

//! Asks again, after waits that grow.

mod builder;
mod settings;
mod storage;

pub use builder::RetryBuilder;
pub use settings::is_transient;
pub use storage::Retry;

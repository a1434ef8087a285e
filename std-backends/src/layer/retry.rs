//! Asks again, after waits that grow.

mod builder;
mod storage;

pub use builder::{RetryBuilder, is_passing};
pub use storage::Retry;

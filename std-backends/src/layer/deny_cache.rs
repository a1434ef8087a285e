//! Answers by itself while a denial holds.

mod builder;
mod storage;
mod table;

pub use builder::DenyCacheBuilder;
pub use storage::DenyCache;

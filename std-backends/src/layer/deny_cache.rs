//! The deny cache, which repeats a denial while it holds.

mod builder;
mod storage;
mod table;

pub use builder::DenyCacheBuilder;
pub use storage::DenyCache;

//! Reports how calls of a storage end, and how long they take.

mod counters;
mod storage;

pub use counters::Calls;
pub use storage::{Call, Ended, Metered, Operation, Watch};

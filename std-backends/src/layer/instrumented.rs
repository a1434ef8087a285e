//! Instrumentation: how the calls of a storage end, and how long they take.

mod counters;
mod storage;

pub use counters::CallCounters;
pub use storage::{CallEvent, CallObserver, CallResult, Instrumented, Operation};

//! Instrumentation: how the calls of a storage end, and how long they take.

mod counters;
mod event;
mod storage;

pub use counters::CallCounters;
pub use event::{CallEvent, CallObserver, CallResult, Operation};
pub use storage::Instrumented;

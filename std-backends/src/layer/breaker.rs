//! The circuit breaker, which stops calls to a storage, or a node of it, that fails again and again.

mod builder;
mod control;
mod failure_tally;
mod settings;
mod state;
mod state_machine;
mod storage;

pub use builder::BreakerBuilder;
pub use control::Breaker;
pub use settings::is_outage;
pub use state::{BreakerState, CircuitOpen, StateChange};
pub use storage::CircuitBreaker;

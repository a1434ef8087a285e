//! Leaves a storage alone that fails again and again.

mod builder;
mod settings;
mod state_machine;
mod storage;
mod tally;

pub use builder::BreakerBuilder;
pub use settings::is_ill;
pub use state_machine::{Breaker, BreakerState, Change, Open};
pub use storage::CircuitBreaker;

//! Storages around storages: what happens when one does not answer.
//!
//! Each is an [`AsyncStorage`](traffik_core::storage::AsyncStorage) itself, so that one goes around another.
//!
//! | wrapper | what it does | where it belongs |
//! |---|---|---|
//! | [`Timeout`] | gives up on a call that takes too long | around what may take long, within all others |
//! | [`CircuitBreaker`] | leaves a storage alone that fails again and again | around what it watches and its deadline |
//! | [`Failover`] | asks another storage where the first one fails | around a breaker |
//!
//! What is elsewhere called `backend_fallback` or `failover` is [`Failover`].

mod breaker;
mod breaker_settings;
mod calls;
mod circuit_breaker;
mod failover;
mod journal;
mod random;
mod tally;
mod timeout;

pub use breaker::{Breaker, BreakerState, Change, Open};
pub use breaker_settings::{BreakerBuilder, is_ill};
pub use circuit_breaker::CircuitBreaker;
pub use failover::{Failover, FailoverBuilder, FailoverChange};
pub use timeout::{Late, Timeout};

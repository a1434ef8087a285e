//! Storages around storages: what happens when one does not answer.
//!
//! Each is an [`AsyncStorage`](traffik_core::storage::AsyncStorage) itself, so that one goes around another.
//!
//! | wrapper | what it does | where it belongs |
//! |---|---|---|
//! | [`Timeout`] | gives up on a call that takes too long | around what may take long, within all others |
//! | [`Retry`] | asks again, after waits that grow | around a deadline for each attempt |
//! | [`CircuitBreaker`] | leaves a storage alone that fails again and again | around what it watches and its deadline |
//! | [`Failover`] | asks another storage where the first one fails | around a breaker |
//! | [`DenyCache`] | answers itself while a denial holds | around all that is asked about limits |
//! | [`Metered`] | tells how calls end, and how long they take | around all, or around what it is to tell of |
//!
//! What is elsewhere called `backend_fallback` or `failover` is [`Failover`]; `retry` is [`Retry`].

mod backoff;
mod breaker;
mod breaker_settings;
mod call_counts;
mod calls;
mod circuit_breaker;
mod denials;
mod deny_cache;
mod deny_cache_settings;
mod failover;
mod metered;
mod random;
mod retry;
mod retry_settings;
mod tally;
mod timeout;

pub use backoff::{Backoff, Jitter};
pub use breaker::{Breaker, BreakerState, Change, Open};
pub use breaker_settings::{BreakerBuilder, is_ill};
pub use call_counts::Calls;
pub use circuit_breaker::CircuitBreaker;
pub use deny_cache::DenyCache;
pub use deny_cache_settings::DenyCacheBuilder;
pub use failover::{Failover, FailoverBuilder, FailoverChange};
pub use metered::{Call, Ended, Metered, Operation, Watch};
pub use retry::Retry;
pub use retry_settings::{RetryBuilder, is_passing};
pub use timeout::{Late, Timeout};

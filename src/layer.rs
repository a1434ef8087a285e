//! Layers around a storage that can fail: timeouts, retries, circuit breakers, fallbacks.
//!
//! Each layer is a storage itself. [`StorageExt`] has a method to add each. The table has them in the order
//! that suits most programs, from the store outwards:
//!
//! | layer | choose it to | added by |
//! |---|---|---|
//! | [`Timeout`] | bound the time of a call | `with_timeout` |
//! | [`Retry`] | repeat calls after transient failures | `with_retry` |
//! | [`CircuitBreaker`] | stop calling a store that is down | `with_breaker` |
//! | [`Failover`] | decide on another storage while the first one fails | `with_fallback` |
//! | [`DenyCache`] | answer denied keys without a call | `with_deny_cache` |
//! | [`Instrumented`] | count calls and measure their time | `with_observer` |
//!
//! The documentation of [`StorageExt`] and of each layer has examples.
//!
//! * A breaker inside a retry counts attempts instead of calls, and the retry still waits while it is open.
//! * A timeout around a failover also ends calls of the fallback.
//! * A retry around a failover calls the primary again before each attempt on the fallback: put the retry
//!   inside the failover.

#[doc(inline)]
pub use traffik_backends::layer::{
    Backoff, Breaker, BreakerBuilder, BreakerState, CallCounters, CallEvent, CallResult, CircuitBreaker,
    DenyCache, Failover, FailoverBuilder, FailoverChange, Instrumented, Operation, Retry, RetryBuilder,
    StorageExt, Timeout, is_outage, is_transient,
};

// Types of signatures.
#[doc(inline)]
pub use traffik_backends::layer::{
    CallObserver, CircuitOpen, DeadlineExceeded, DenyCacheBuilder, StateChange,
};

//! Layers around a storage that can fail: timeouts, retries, circuit breakers, fallbacks.
//!
//! Each layer is a storage itself. [`StorageExt`] adds them by one method each; from the store outwards, this
//! order suits all of them:
//!
//! | layer | choose it to | added by |
//! |---|---|---|
//! | [`Timeout`] | bound the time of a call | `with_timeout` |
//! | [`Retry`] | repeat calls after passing failures | `with_retry` |
//! | [`CircuitBreaker`] | stop calling a store that is down | `with_breaker` |
//! | [`Failover`] | decide on another storage meanwhile | `with_fallback` |
//! | [`DenyCache`] | answer denied keys without a call | `with_deny_cache` |
//! | [`Instrumented`] | count calls and measure their time | `with_observer` |
//!
//! The documentation of [`StorageExt`] and of each layer has examples.
//!
//! * A breaker inside of a retry counts attempts instead of calls; while it is open, the retry still waits.
//! * A timeout around a failover cuts the fallback off, too.
//! * A retry around a failover asks the primary again before each attempt on the fallback: put it inside.

#[doc(inline)]
pub use traffik_backends::layer::{
    Backoff, Breaker, BreakerBuilder, BreakerState, CallCounters, CallEvent, CallResult, CircuitBreaker,
    DenyCache, Failover, FailoverBuilder, FailoverChange, Instrumented, Operation, Retry, RetryBuilder,
    StorageExt, Timeout, is_outage, is_transient,
};

#[doc(hidden)]
pub use traffik_backends::layer::*;

//! Layers around a storage, for when it hangs, fails, is overloaded or must be watched.
//!
//! Each layer is an [`AsyncStorage`](traffik_core::storage::AsyncStorage) around another one.
//! [`StorageExt`] adds each with one method call. All of them work together in the order of this table, from
//! the store outwards:
//!
//! | layer | for a storage that | does | belongs around |
//! |---|---|---|---|
//! | [`Timeout`] | hangs | fails a call that takes too long | the store, within all others |
//! | [`Retry`] | fails now and then | tries again, after growing waits | a `Timeout` for each attempt |
//! | [`CircuitBreaker`] | is down | stops calling it for a while | the storage it judges, and its `Timeout` |
//! | [`Failover`] | is down | calls another storage instead | a `CircuitBreaker` |
//! | [`DenyCache`] | is hammered by denied clients | repeats a denial while it holds | all of the above |
//! | [`Instrumented`] | you want to watch | reports results and durations of calls | all, or one layer |
//!
//! In another order:
//!
//! * A breaker within a retry counts attempts instead of calls. While it is open, the retry still waits and
//!   tries again.
//! * A breaker within a timeout does not count a timed-out call as a failure of the store, unless
//!   [`slow`](BreakerBuilder::slow) is set. A timeout around a failover also cuts off the fallback.
//! * A deny cache within a failover, around the primary, caches no denial of the fallback: each such call
//!   reaches the fallback.
//! * A retry around a failover calls the primary again before each attempt of the fallback: put the retry
//!   within.
//!
//! A breaker, a failover and counters treat each [node](traffik_core::storage::AsyncStorage::node) of a
//! storage separately. A node that fails changes nothing for keys on other nodes.
//!
//! # Names of the Python library
//!
//! | there | here |
//! |---|---|
//! | `retry` | [`with_retry`], or [`Retry::builder`]: kinds, attempts, backoff, deadline |
//! | `backend_fallback` | [`with_fallback`], or [`Failover::builder`]: see below |
//! | `CircuitBreaker` | [`with_breaker`] and [`Breaker::builder`]; several storages can share one |
//! | `failover` | all three: `.with_retry(timer).with_breaker(&breaker).with_fallback(other)` |
//! | `on_error` | the same option of a throttle, for failures that remain |
//!
//! The two ways to make a failover differ in calls that are under way when the store dies or hangs:
//!
//! | | such a call | such a hit |
//! |---|---|---|
//! | [`with_fallback`] | the fallback decides | may count on both sides, never merged |
//! | [`Failover::builder`] | fails, with an unknown outcome | counts at most once |
//! | ... with [`after_timeouts`] | the fallback decides | as `with_fallback` |
//!
//! The builder has more options: kinds of failure, a share of the limit, a warm fallback, merging.
//!
//! [`with_retry`]: StorageExt::with_retry
//! [`with_breaker`]: StorageExt::with_breaker
//! [`with_fallback`]: StorageExt::with_fallback
//! [`after_timeouts`]: FailoverBuilder::after_timeouts

mod breaker;
mod calls;
mod delegate;
mod deny_cache;
mod failover;
mod instrumented;
mod retry;
mod storage_ext;
mod timeout;

pub use breaker::{Breaker, BreakerBuilder, BreakerState, CircuitBreaker, is_outage};
pub use deny_cache::DenyCache;
pub use failover::{Failover, FailoverBuilder, FailoverChange};
pub use instrumented::{CallCounters, CallEvent, CallResult, Instrumented, Operation};
pub use retry::{Retry, RetryBuilder, is_transient};
pub use storage_ext::StorageExt;
pub use timeout::Timeout;

pub use crate::util::backoff::Backoff;

// Types that appear in signatures; users seldom name them.
#[doc(hidden)]
pub use breaker::{CircuitOpen, StateChange};
#[doc(hidden)]
pub use deny_cache::DenyCacheBuilder;
#[doc(hidden)]
pub use instrumented::CallObserver;
#[doc(hidden)]
pub use timeout::DeadlineExceeded;

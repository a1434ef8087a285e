//! Storages around storages: what happens when one does not answer.
//!
//! Each is an [`AsyncStorage`](traffik_core::storage::AsyncStorage) itself, so that one goes around another.
//!
//! | wrapper | what it does | where it belongs |
//! |---|---|---|
//! | [`Timeout`] | gives up on a call that takes too long | around what may take long, within all others |
//! | [`Retry`] | asks again, after waits that grow | around a deadline for each attempt |
//! | [`CircuitBreaker`] | leaves a storage alone that fails on | around what it watches and its deadline |
//! | [`Failover`] | asks another storage where the first one fails | around a breaker |
//! | [`DenyCache`] | answers itself while a denial holds | around all that is asked about limits |
//! | [`Instrumented`] | reports how calls end, and how long they take | around all, or what it reports on |
//!
//! In this order, from the store outwards, all of them make sense at once. [`StorageExt`] puts them there, a line
//! each. In another:
//!
//! * A breaker within a retry counts attempts instead of calls, and while it is open the retry still waits
//!   and asks it again.
//! * A deadline around a breaker does not count as a failure of the store, but for
//!   [slow](BreakerBuilder::slow) calls. Around a failover it cuts the fallback off, too.
//! * A cache of denials within a failover forgets the fallback's denials when the primary is back, and asks a
//!   fallback each time.
//! * A retry around a failover asks the primary again before each attempt of the fallback: put it within.
//!
//! Of a storage that is made of several [nodes](traffik_core::storage::AsyncStorage::node) breaker, failover
//! and counters judge each by itself, so that one that fails changes nothing for keys on the others.
//!
//! # From the names of the Python library
//!
//! | there | here |
//! |---|---|
//! | `retry` | [`with_retry`], or [`Retry::builder`]: kinds, attempts, backoff, deadline |
//! | `backend_fallback` | [`with_fallback`], or [`Failover::builder`]: see below |
//! | `CircuitBreaker` | [`with_breaker`] and [`Breaker::builder`]; several storages can share one |
//! | `failover` | all three: `.with_retry(timer).with_breaker(&breaker).with_fallback(other)` |
//! | `on_error` | what a throttle does with the failure that is left, in `traffik_integrations` |
//!
//! Two ways to make a failover differ in what becomes of a call that is on its way when the store dies or
//! hangs:
//!
//! | | such a call | such a hit |
//! |---|---|---|
//! | [`with_fallback`] | the fallback decides | may count on both sides, never merged |
//! | [`Failover::builder`] | fails, with an unknown outcome | counts once, if at all |
//! | ... with [`after_timeouts`] | the fallback decides | as `with_fallback` |
//!
//! The builder has more: kinds of failure, a share of the limit, a warm fallback, merging.
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

// What stands in signatures, and nobody has to name.
#[doc(hidden)]
pub use breaker::{CircuitOpen, StateChange};
#[doc(hidden)]
pub use deny_cache::DenyCacheBuilder;
#[doc(hidden)]
pub use instrumented::CallObserver;
#[doc(hidden)]
pub use timeout::DeadlineExceeded;

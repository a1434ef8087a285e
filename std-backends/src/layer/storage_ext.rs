//! Layers around a storage, one in a line each.

use std::time::Duration;

use traffik_core::{Strategy, Timer};

use super::{Breaker, CallObserver, CircuitBreaker, DenyCache, Failover, Instrumented, Retry, Timeout};

/// Puts layers around a storage, each as it is if nothing is said; their builders say more. The one that is
/// named last is the outermost.
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::{StorageExt, Breaker, CallCounters};
/// use traffik::Memory;
/// use traffik::storage::{Local, Reply};
/// use traffik::{AsyncLimiter, TokenBucket, rate};
/// # use std::future::{Future, ready};
/// # #[derive(Clone)]
/// # struct Runtime;
/// # impl traffik::Timer for Runtime {
/// #     fn sleep(&self, _: Duration) -> impl Future<Output = ()> + Send + 'static { ready(()) }
/// # }
///
/// // Memory stands here for a store that may fail.
/// let storage = Local(Memory::new(1_000))
///     .with_timeout(Runtime, Duration::from_millis(50))
///     .with_retry(Runtime)
///     .with_breaker(&Breaker::new("redis"))
///     .with_fallback(Local(Memory::new(1_000)))
///     .with_deny_cache()
///     .with_observer(CallCounters::default());
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// assert!(matches!(limiter.check("alice"), Reply::Ready(Some(Ok(_)))));
/// ```
pub trait StorageExt: Sized {
    /// [`Timeout`]: gives up on a call that takes longer. A deadline of the storage's own should be no
    /// longer.
    fn with_timeout<R: Timer>(self, timer: R, limit: Duration) -> Timeout<Self, R> {
        Timeout::new(self, timer, limit)
    }

    /// [`Retry`]: asks up to three times within 1 s, unless the hit may have been charged.
    fn with_retry<R: Timer>(self, timer: R) -> Retry<Self, R> {
        Retry::new(self, timer)
    }

    /// [`CircuitBreaker`]: is left alone while the breaker is open, each of its nodes by itself.
    fn with_breaker(self, breaker: &Breaker) -> CircuitBreaker<Self> {
        CircuitBreaker::new(self, breaker)
    }

    /// [`Failover`]: the other storage decides where this one fails, with the whole limit, and begins cold;
    /// what it admitted is dropped in the end.
    ///
    /// It decides also on calls that are on their way when this one dies or hangs, whose outcome is then
    /// unknown. Such a hit may be counted by both, and is never merged. Where it must not be, take
    /// [`Failover::builder`], which leaves these calls a failure unless it is given
    /// [`after_timeouts`](super::FailoverBuilder::after_timeouts).
    fn with_fallback<S: Strategy, F>(self, fallback: F) -> Failover<S, Self, F> {
        Failover::builder(self, fallback).after_timeouts().build()
    }

    /// [`DenyCache`]: is not asked again while its denial holds, for up to 10 000 keys.
    fn with_deny_cache<S: Strategy + PartialEq>(self) -> DenyCache<S, Self> {
        DenyCache::builder(self).build()
    }

    /// [`Instrumented`]: tells how calls end, and how long they take.
    fn with_observer(self, observer: impl CallObserver + 'static) -> Instrumented<Self> {
        Instrumented::new(self, observer)
    }
}

/// Whether it is a storage is found out where it is used, as of what limit is known there.
impl<T> StorageExt for T {}

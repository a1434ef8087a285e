//! The layers as methods of a storage.

use std::time::Duration;

use traffik_core::{Strategy, Timer};

use super::{Breaker, CallObserver, CircuitBreaker, DenyCache, Failover, Instrumented, Retry, Timeout};

/// Adds layers to a storage, each with its default settings.
///
/// Choose the builder of a layer where you need other settings. The layer that is added last is the
/// outermost.
///
/// ```
/// use std::time::Duration;
/// use traffik::layer::{Breaker, CallCounters, StorageExt};
/// use traffik::runtime::Manual;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
///
/// let runtime = Manual::new(); // in a program `Tokio` or `Smol`
///
/// // `Local(Memory)` stands for a store that may fail.
/// let storage = Local(Memory::new(1_000))
///     .with_timeout(runtime.clone(), Duration::from_millis(50))
///     .with_retry(runtime.clone())
///     .with_breaker(&Breaker::new("redis"))
///     .with_fallback(Local(Memory::new(1_000)))
///     .with_deny_cache()
///     .with_observer(CallCounters::default());
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// assert!(runtime.run(async { limiter.check("alice").await })??.is_allowed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait StorageExt: Sized {
    /// Adds a [`Timeout`]: fails a call that takes longer than `limit`. If the storage has a deadline of its
    /// own, that should be no longer than `limit`.
    fn with_timeout<R: Timer>(self, timer: R, limit: Duration) -> Timeout<Self, R> {
        Timeout::new(self, timer, limit)
    }

    /// Adds a [`Retry`]: up to three attempts within 1 s, unless the hit may have been charged.
    fn with_retry<R: Timer>(self, timer: R) -> Retry<Self, R> {
        Retry::new(self, timer)
    }

    /// Adds a [`CircuitBreaker`]: while the breaker is open for a node, calls to that node fail at once.
    fn with_breaker(self, breaker: &Breaker) -> CircuitBreaker<Self> {
        CircuitBreaker::new(self, breaker)
    }

    /// Adds a [`Failover`]: where this storage fails, `fallback` decides, with the whole limit. The fallback
    /// starts cold, and its admissions are never merged.
    ///
    /// The fallback also decides calls that are under way when this storage dies or hangs. Their outcome is
    /// then unknown: both sides may count such a hit, and it is never merged. Use [`Failover::builder`]
    /// where that must not happen. It reports such calls as failures unless you set
    /// [`after_timeouts`](super::FailoverBuilder::after_timeouts).
    fn with_fallback<S: Strategy, F>(self, fallback: F) -> Failover<S, Self, F> {
        Failover::builder(self, fallback).after_timeouts().build()
    }

    /// Adds a [`DenyCache`]: repeats a denial while it holds, for up to 10 000 keys.
    fn with_deny_cache<S: Strategy + PartialEq>(self) -> DenyCache<S, Self> {
        DenyCache::builder(self).build()
    }

    /// Adds an [`Instrumented`]: reports how calls end, and how long they take.
    fn with_observer(self, observer: impl CallObserver + 'static) -> Instrumented<Self> {
        Instrumented::new(self, observer)
    }
}

/// Implemented for every type, since only the use shows for which strategy the type is a storage.
impl<T> StorageExt for T {}

//! A storage that sees to it that a breaker which is half-open lets through one call at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use traffik::layer::{Breaker, BreakerState};
use traffik::storage::{AsyncStorage, MultiKeyReply, Reply};
use traffik::{Decision, ErasedKey, Hit, Op, Timestamp, TokenBucket};

pub(crate) struct Probed<T> {
    storage: T,
    breaker: Breaker,
    /// Calls on their way that began while it was half-open.
    probes: Arc<AtomicU32>,
}

/// One of them, until it is answered or dropped.
struct Probe(Arc<AtomicU32>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<T> Probed<T> {
    pub(crate) fn new(storage: T, breaker: &Breaker) -> Self {
        Self { storage, breaker: breaker.clone(), probes: Arc::default() }
    }

    fn see<A: Send + 'static>(&self, call: impl FnOnce(&T) -> Reply<A>) -> Reply<A> {
        if self.breaker.state() != BreakerState::HalfOpen {
            return call(&self.storage);
        }
        assert_eq!(self.probes.fetch_add(1, Ordering::Relaxed), 0, "one at a time");
        let probe = Probe(Arc::clone(&self.probes));
        match call(&self.storage) {
            Reply::Pending(answer) => Reply::pending(async move {
                let _probe = probe;
                answer.await
            }),
            ready => ready,
        }
    }
}

impl<T: AsyncStorage<TokenBucket>> AsyncStorage<TokenBucket> for Probed<T> {
    fn apply(&self, limit: &TokenBucket, key: &dyn ErasedKey, op: &Op<TokenBucket>) -> Reply<Decision> {
        self.see(|it| it.apply(limit, key, op))
    }

    fn load(&self, limit: &TokenBucket, key: &dyn ErasedKey) -> Reply<(traffik::strategy::Level, Timestamp)> {
        self.see(|it| it.load(limit, key))
    }

    fn check_together(
        &self,
        limit: &TokenBucket,
        keys: &[&dyn ErasedKey],
        hit: &Hit,
    ) -> Reply<MultiKeyReply<Decision>> {
        self.see(|it| it.check_together(limit, keys, hit))
    }
}

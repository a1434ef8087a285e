//! Layers around a storage: their settings, and the failures and changes that they report.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use traffik::layer::{Backoff, Breaker, CircuitBreaker, Failover, Retry, Timeout};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, BackendError, Local, Reply};
use traffik::strategy::Level;
use traffik::{
    AsyncLimiter, Decision, ErasedKey, ErrorKind, Memory, Op, Ratio, Timestamp, TokenBucket, rate,
};
use traffik_test_support::faulty::{Faulty, MILLI, SECOND, WELL, after, before, slow};
use traffik_test_support::sharded::Sharded;

use super::{Messages, refused};

/// Fails in an outage.
const DOWN: traffik_test_support::faulty::Course = before(ErrorKind::Unavailable);

fn bucket() -> TokenBucket {
    TokenBucket::new(rate!("8/80s"))
}

fn faulty(runtime: &Manual) -> Faulty<TokenBucket> {
    Faulty::new(runtime)
}

pub(super) fn provoke(messages: &mut Messages) {
    settings(messages);
    timeouts(messages);
    breakers(messages);
    failovers(messages);
}

fn settings(messages: &mut Messages) {
    messages.section("Settings of layers");
    let runtime = Manual::new();
    let retry = || Retry::builder(faulty(&runtime), runtime.clone());
    let breaker = || Breaker::builder("redis");
    let failover = || Failover::<TokenBucket, _, _>::builder(faulty(&runtime), faulty(&runtime));
    let half = Ratio::new(1, 2).unwrap();
    let upside_down = Backoff::exponential(2 * SECOND, SECOND);
    refused! { messages:
        retry().attempts(0).build();
        retry().deadline(Duration::ZERO).build();
        retry().backoff(upside_down).build();
        breaker().failures(0).build();
        breaker().successes(0).build();
        breaker().open_for(Duration::ZERO).build();
        breaker().slow(Duration::ZERO).build();
        breaker().failure_rate(Ratio::ZERO, 10, SECOND).build();
        breaker().failure_rate(half, 0, SECOND).build();
        failover().instances(0);
    }
}

fn check(runtime: &Manual, storage: impl AsyncStorage<TokenBucket>) -> Result<Decision, BackendError> {
    runtime.run(AsyncLimiter::new(bucket(), storage).check("alice")).unwrap()
}

fn timeouts(messages: &mut Messages) {
    messages.section("Timeouts");
    let runtime = Manual::new();
    let storage = faulty(&runtime);
    storage.always(slow(SECOND));
    refused! { messages:
        check(&runtime, Timeout::new(storage.clone(), runtime.clone(), 50 * MILLI));
    }
}

fn breakers(messages: &mut Messages) {
    messages.section("Circuit breakers");
    let (runtime, heard) = (Manual::new(), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&heard);
    let breaker = Breaker::builder("redis").clock(runtime.clone()).failures(1).open_for(SECOND);
    let breaker =
        breaker.jitter(Duration::ZERO).on_change(move |change| told.lock().unwrap().push(change.to_string()));
    let breaker = breaker.build().unwrap();
    let storage = faulty(&runtime);
    let limits = AsyncLimiter::new(bucket(), CircuitBreaker::new(storage.clone(), &breaker));
    storage.always(DOWN);
    refused! { messages:
        runtime.run(limits.check("the first call")).unwrap();
        runtime.run(limits.check("while it is open")).unwrap();
    }
    runtime.advance(SECOND);
    storage.always(slow(SECOND));
    let probe =
        runtime.run(async { futures_util::join!(limits.check("a probe"), limits.check("meanwhile")) });
    messages.refused("limits.check(\"while a probe is on its way\")", probe.unwrap().1);
    breaker.force_open();
    refused! { messages:
        runtime.run(limits.check("when it is forced open")).unwrap();
    }
    breaker.force_close();
    breaker.release();
    let nodes = Sharded::<TokenBucket>::new(2, &runtime);
    let node = nodes.of(&"alice");
    nodes.at(node).always(DOWN);
    let limits = AsyncLimiter::new(bucket(), CircuitBreaker::new(nodes, &breaker));
    drop(runtime.run(limits.check("alice")));
    refused! { messages:
        runtime.run(limits.check("alice")).unwrap();
    }
    for change in heard.lock().unwrap().iter() {
        messages.line("Breaker::on_change", change);
    }
}

fn failovers(messages: &mut Messages) {
    messages.section("Failovers");
    let (runtime, heard) = (Manual::new(), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&heard);
    let local = || Local(Arc::new(Memory::builder().clock(runtime.clone()).build()));
    let primary = faulty(&runtime);
    let failover = Failover::builder(primary.clone(), local()).clock(runtime.clone());
    let storage = failover.on_change(move |change| told.lock().unwrap().push(change.to_string())).build();
    let limits = AsyncLimiter::new(bucket(), storage);
    primary.always(DOWN);
    let _ = runtime.run(limits.check("alice")).unwrap().unwrap();
    primary.always(WELL);
    runtime.advance(60 * SECOND);
    let _ = runtime.run(limits.check("alice")).unwrap().unwrap();
    for change in heard.lock().unwrap().iter() {
        messages.line("Failover::on_change", change);
    }
    let double = |limit: &TokenBucket| TokenBucket::new(limit.rate()).burst(u32::MAX);
    let shared = Failover::builder(faulty(&runtime), local()).share(double).build();
    let limits = AsyncLimiter::new(TokenBucket::new(rate!("1000001/31d")), shared);
    refused! { messages:
        runtime.run(limits.check("alice")).unwrap();
    }
    let primary = faulty(&runtime);
    let both = Failover::builder(primary.clone(), OneByOne).clock(runtime.clone()).after_timeouts().build();
    primary.always(after(ErrorKind::Timeout));
    let limits = AsyncLimiter::new(bucket(), both);
    refused! { messages:
        runtime.run(limits.check_together([&"alice", &"bob"], 1)).unwrap();
    }
}

/// A storage of one's own that checks one key at a time.
struct OneByOne;

impl AsyncStorage<TokenBucket> for OneByOne {
    fn apply(&self, _: &TokenBucket, _: &dyn ErasedKey, _: &Op<TokenBucket>) -> Reply<Decision> {
        Reply::ready(Err(BackendError::new(ErrorKind::Unavailable, "the fallback failed")))
    }

    fn load(&self, _: &TokenBucket, _: &dyn ErasedKey) -> Reply<(Level, Timestamp)> {
        Reply::ready(Ok((Level::default(), Timestamp::EPOCH)))
    }
}

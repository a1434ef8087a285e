//! Several keys in one decision where answers are awaited: all of them are charged, or none.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use traffik::storage::{AsyncStorage, BackendError, ErrorKind, Local, Reply};
use traffik::strategy::Level;
use traffik::{AsyncLimiter, Decision, ErasedKey, Memory, Op, Rate, Timestamp, TokenBucket};

/// One key at a time, and one of them cannot be reached.
struct OneByOne(Local<Memory<TokenBucket>>);

impl AsyncStorage<TokenBucket> for OneByOne {
    fn apply(&self, limit: &TokenBucket, key: &dyn ErasedKey, op: &Op<TokenBucket>) -> Reply<Decision> {
        let mut is_away = false;
        key.feed_to(&mut |bytes| is_away |= bytes == b"away");
        if is_away {
            return Reply::ready(Err(BackendError::new(ErrorKind::Unavailable, "away")));
        }
        self.0.apply(limit, key, op)
    }

    fn load(&self, limit: &TokenBucket, key: &dyn ErasedKey) -> Reply<(Level, Timestamp)> {
        self.0.load(limit, key)
    }
}

/// Of a storage that never waits.
fn now<T>(answer: impl Future<Output = T>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waits"),
    }
}

fn all_or_none(storage: impl AsyncStorage<TokenBucket>, atomic: bool) -> impl Fn(&str) -> u32 {
    let limiter = AsyncLimiter::new(TokenBucket::new(Rate::per_minute(5)), storage);
    let check = |keys: [&'static str; 3]| now(limiter.check_together(keys.each_ref(), 2));
    let all = check(["a", "b", "c"]).unwrap();
    assert!(all.is_allowed() && all.is_atomic() == atomic);
    assert!(now(limiter.check_n("c", 2)).unwrap().is_allowed());
    let none = check(["a", "b", "c"]).unwrap();
    assert_eq!(none.verdicts.map(|it| it.is_allowed()), [true, true, false]);
    let left = move |key: &str| now(limiter.peek(key, 0)).unwrap().remaining();
    assert_eq!(["a", "b", "c"].map(&left), [3, 3, 1]);
    left
}

#[test]
fn all_keys_are_charged_or_none() {
    let memory = || Local(Memory::new(8));
    let _ = all_or_none(memory(), true);
    let _ = all_or_none(OneByOne(memory()), false);
}

#[test]
fn after_a_failure_those_charged_are_given_back() {
    let storage = OneByOne(Local(Memory::new(8)));
    let limiter = AsyncLimiter::new(TokenBucket::new(Rate::per_minute(5)), storage);
    let failed = now(limiter.check_together(["a", "b", "away"].each_ref(), 2)).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable);
    let left = |key: &str| now(limiter.peek(key, 0)).unwrap().remaining();
    assert_eq!((left("a"), left("b")), (5, 5));
}

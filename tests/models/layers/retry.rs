//! `Retry`, over a store that fails on demand, in virtual time: the times of its attempts, and their charges.

use std::time::Duration;

use traffik::layer::{Backoff, Retry, RetryBuilder, Timeout};
use traffik::runtime::Manual;
use traffik::storage::{AsyncStorage, BackendError, Reply};
use traffik::{AsyncLimiter, Decision, ErrorKind, TokenBucket, rate};

use traffik_test_support::faulty::{Course, Faulty, MILLI, SECOND, WELL, after, before, slow};

type Store = Faulty<TokenBucket>;
type Builder = RetryBuilder<Store, Manual>;

struct Setup {
    runtime: Manual,
    faulty: Store,
    limits: AsyncLimiter<TokenBucket, Retry<Store, Manual>>,
}

const DOWN: Course = before(ErrorKind::Unavailable);

/// A limit of 8 in 80 s; 10 ms and then 20 ms between attempts.
fn setup(with: impl FnOnce(Builder) -> Builder) -> Setup {
    let runtime = Manual::new();
    let faulty = Faulty::new(&runtime);
    let builder = Retry::builder(faulty.clone(), runtime.clone()).clock(runtime.clone()).seed(7);
    let exact = Backoff::exponential(10 * MILLI, 200 * MILLI).without_jitter();
    let storage = with(builder.backoff(exact)).build().unwrap();
    Setup { limits: AsyncLimiter::new(TokenBucket::new(rate!("8/80s")), storage), runtime, faulty }
}

impl Setup {
    fn check(&self) -> Result<Decision, BackendError> {
        self.runtime.run(self.limits.check("key")).unwrap()
    }

    fn kind(&self) -> ErrorKind {
        self.check().unwrap_err().kind()
    }

    /// How much the store was charged, less what drained since: nothing of note within seconds.
    fn charged(&self) -> u32 {
        let limit = TokenBucket::new(rate!("8/80s"));
        8 - self.runtime.run(self.faulty.honest(limit).peek("key", 0)).unwrap().unwrap().remaining()
    }
}

#[test]
fn it_asks_again_after_waits_that_grow_and_charges_once() {
    let it = setup(|it| it);
    it.faulty.next(&[DOWN, before(ErrorKind::Contended), WELL]);
    assert!(it.check().unwrap().is_allowed());
    assert_eq!((it.faulty.calls(), it.limits.storage().retries(), it.charged()), (3, 2, 1));
    assert_eq!(it.runtime.now().as_micros(), 30_000);
    it.faulty.always(DOWN);
    assert_eq!(it.kind(), ErrorKind::Unavailable);
    assert_eq!((it.faulty.calls(), it.charged()), (6, 1), "three attempts, and no more");
}

#[test]
fn an_unknown_outcome_is_told_unless_it_is_asked_for() {
    let unknown = after(ErrorKind::Timeout);
    let it = setup(|it| it.on(|_| true));
    it.faulty.next(&[unknown]);
    assert_eq!((it.kind(), it.faulty.calls(), it.charged()), (ErrorKind::Timeout, 1, 1));

    let it = setup(RetryBuilder::after_timeouts);
    it.faulty.next(&[unknown]);
    assert!(it.check().unwrap().is_allowed());
    assert_eq!((it.faulty.calls(), it.charged()), (2, 2), "charged twice, as is said");
    it.faulty.next(&[unknown, DOWN, DOWN]);
    assert_eq!(it.kind(), ErrorKind::Timeout, "the last attempt charged nothing, but the first one may have");
    assert_eq!(it.charged(), 3);
}

#[test]
fn what_charges_nothing_has_no_unknown_outcome() {
    let it = setup(|it| it);
    it.faulty.next(&[after(ErrorKind::Timeout)]);
    assert!(it.runtime.run(it.limits.peek("key", 1)).unwrap().is_ok());
    it.faulty.next(&[after(ErrorKind::Timeout)]);
    assert!(it.runtime.run(it.limits.stat("key")).unwrap().is_ok());
    assert_eq!(it.faulty.calls(), 4);
}

#[test]
fn kinds_that_are_not_asked_for_are_told_at_once() {
    let it = setup(|it| it);
    for kind in
        [ErrorKind::Full, ErrorKind::Invalid, ErrorKind::Closed, ErrorKind::Corrupt, ErrorKind::Denied]
    {
        it.faulty.always(before(kind));
        assert!(matches!(it.limits.check("key"), Reply::Ready(Some(Err(failure))) if failure.kind() == kind));
    }
    let it = setup(|it| it.on(|kind| kind == ErrorKind::Full));
    it.faulty.next(&[before(ErrorKind::Full)]);
    assert!(it.check().unwrap().is_allowed());
    it.faulty.next(&[DOWN]);
    assert_eq!(it.kind(), ErrorKind::Unavailable);
}

#[test]
fn all_ends_by_the_deadline() {
    let it = setup(|it| it.attempts(u32::MAX).deadline(100 * MILLI));
    it.faulty.always(DOWN);
    assert_eq!(it.kind(), ErrorKind::Unavailable);
    // After 10, 30 and 70 ms; the next wait would end after 150.
    assert_eq!((it.faulty.calls(), it.runtime.now().as_micros()), (4, 70_000), "it does not wait in vain");

    let it = setup(|it| it.deadline(100 * MILLI));
    it.faulty.next(&[DOWN, slow(SECOND)]);
    assert_eq!((it.kind(), it.runtime.now().as_micros()), (ErrorKind::Timeout, 100_000));
    it.faulty.always(slow(SECOND));
    let began = it.runtime.now();
    let peeked = it.runtime.run(it.limits.peek("key", 1)).unwrap().unwrap_err();
    assert_eq!((peeked.kind(), it.runtime.now().since(began)), (ErrorKind::Unavailable, 100 * MILLI));

    let it = setup(|it| it.without_deadline());
    it.faulty.next(&[DOWN, slow(SECOND)]);
    assert!(it.check().unwrap().is_allowed());
    assert_eq!(it.runtime.now().as_micros(), 2_010_000);
}

#[test]
fn each_attempt_can_have_a_deadline_within_it() {
    let runtime = Manual::new();
    let faulty = Store::new(&runtime);
    let attempt = Timeout::new(faulty.clone(), runtime.clone(), 20 * MILLI);
    let storage = Retry::builder(attempt, runtime.clone()).clock(runtime.clone()).after_timeouts();
    let limits = AsyncLimiter::new(TokenBucket::new(rate!("8/80s")), storage.build().unwrap());
    faulty.next(&[slow(SECOND)]);
    assert!(runtime.run(limits.check("key")).unwrap().unwrap().is_allowed());
    assert!(runtime.now().since(traffik::Timestamp::EPOCH) <= 30 * MILLI);
}

#[test]
fn waits_are_constant_linear_or_exponential_and_jitter_spreads_them() {
    let waits = |backoff: Backoff, seed| {
        let it = setup(|it| it.attempts(4).backoff(backoff).seed(seed));
        it.faulty.always(DOWN);
        assert_eq!(it.kind(), ErrorKind::Unavailable);
        it.runtime.now().as_micros() / 1_000
    };
    let none = |backoff: Backoff| waits(backoff.without_jitter(), 1);
    assert_eq!(none(Backoff::constant(10 * MILLI)), 30);
    assert_eq!(none(Backoff::linear(10 * MILLI, SECOND)), 10 + 20 + 30);
    assert_eq!(none(Backoff::exponential(10 * MILLI, SECOND)), 10 + 20 + 40);
    let full = Backoff::constant(100 * MILLI);
    for (backoff, least) in [(full, 0), (full.with_half_jitter(), 150)] {
        let mut waited: Vec<_> = (0..50).map(|seed| waits(backoff, seed)).collect();
        assert!(waited.iter().all(|wait| (least..=300).contains(wait)), "{waited:?}");
        waited.sort_unstable();
        waited.dedup();
        assert!(waited.len() > 25, "{}", waited.len());
    }
}

#[test]
fn several_keys_at_once_are_tried_again_too_and_all_else_is_delegated() {
    let it = setup(|it| it);
    it.faulty.next(&[DOWN]);
    let told = it.runtime.run(it.limits.check_together([&"key", &"b"], 1)).unwrap().unwrap();
    assert!(told.is_allowed() && told.is_atomic());
    assert_eq!((it.faulty.calls(), it.charged()), (2, 1));
    let storage: &dyn AsyncStorage<TokenBucket> = it.limits.storage();
    assert!(storage.is_local() && storage.wait_queue().is_some());
    assert!(matches!(it.limits.check("key"), Reply::Ready(Some(Ok(_)))), "what is there is not boxed");
}

#[test]
fn what_could_never_ask_is_refused() {
    let refused: [fn(Builder) -> Builder; 3] = [
        |it| it.attempts(0),
        |it| it.deadline(Duration::ZERO),
        |it| it.backoff(Backoff::linear(SECOND, MILLI)),
    ];
    for with in refused {
        let runtime = Manual::new();
        let builder = with(Retry::builder(Store::new(&runtime), runtime));
        assert_eq!(builder.build().err().map(|it| it.kind()), Some(ErrorKind::Invalid));
    }
}

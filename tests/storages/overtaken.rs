//! Readings of the clock that others have overtaken: a thread or a task was suspended after it had read.

// Chooses what a critical section is.
use critical_section as _;

use std::sync::Arc;
use std::time::Duration;

use traffik::{
    Class, Fixed, Gcra, Hit, Label, LeakyBucketQueue, Limiter, ManualClock, Memory, OneKey, Ratio, Shared,
    SharedMemory, Storage, Tiered, Timestamp, TokenBucket, rate,
};

const START: Timestamp = Timestamp::from_micros(100_000_000);

type Time = Arc<ManualClock>;

/// The clock is right, and goes forward alone. A storage that took it for one that was set back would bring
/// the state down to the old reading, and let it drain once more.
#[test]
fn an_overtaken_reading_grants_nothing() {
    fn check<M: Storage<TokenBucket>>(name: &str, new: fn(Time) -> M) {
        let time = Arc::new(ManualClock::new(START));
        let limiter = Limiter::new(TokenBucket::new(rate!("10/s")), new(Arc::clone(&time)));
        let take = || (0..100).filter(|_| limiter.check("key").unwrap().is_allowed()).count();
        assert_eq!(take(), 10, "{name}");
        let read = limiter.now();
        time.advance(Duration::from_secs(5));
        assert_eq!(take(), 10, "{name}");
        for _ in 0..3 {
            assert!(!limiter.check_at("key", &Hit::new(1), read).unwrap().is_allowed(), "{name}");
            assert!(!limiter.check_together(["key"], 1).unwrap().is_allowed(), "{name}");
        }
        time.advance(Duration::from_micros(1));
        assert_eq!(take(), 0, "{name}");
        time.advance(Duration::from_secs(1));
        assert_eq!(take(), 10, "{name}");
    }
    check::<OneKey<_, _>>("one key", OneKey::new);
    check::<OneKey<_, _, Shared<0>>>("one key, shared", OneKey::shared);
    check::<Fixed<_, _, 4>>("table", |time| Fixed::new(time, 1));
    check::<Fixed<_, _, 4, Shared<0>>>("table, shared", |time| Fixed::shared(time, 1));
    check("memory", |time| Memory::builder().clock(time).build());
    check("shared memory", |time| SharedMemory::builder().clock(time).build_shared());
}

/// The tiers of a queue share a state, which drains at the pace of the tier that was admitted last.
#[test]
fn a_look_at_a_key_changes_nothing() {
    let tiers = [(Label::from("free"), Ratio::new(1, 100).unwrap()), (Label::from("paid"), Ratio::ONE)];
    let limit = Tiered::new(LeakyBucketQueue::new(rate!("10/s")).queue(9).unwrap(), tiers).unwrap();
    let time = Arc::new(ManualClock::new(START));
    let limiter = Limiter::new(limit, OneKey::<_, _>::new(Arc::clone(&time)));
    let paid = Hit::new(1).with_class(Class::new().with_tier("paid"));
    let admitted = (0..600).filter(|_| {
        let admitted = limiter.check_n(&(), paid).unwrap().is_allowed();
        time.advance(Duration::from_millis(10));
        let _ = limiter.status(&()).unwrap();
        time.advance(Duration::from_millis(90));
        admitted
    });
    assert_eq!(admitted.count(), 600);
}

/// By then others may have used what it took.
#[test]
fn a_refund_of_before_a_clock_was_set_back_frees_nothing() {
    let time = Arc::new(ManualClock::new(START));
    let limiter = Limiter::new(Gcra::new(rate!("1/s")), OneKey::<_, _>::new(Arc::clone(&time)));
    let first = limiter.check(&()).unwrap();
    time.set(Timestamp::EPOCH);
    assert!(!limiter.check(&()).unwrap().is_allowed());
    time.advance(Duration::from_secs(1));
    assert!(limiter.check(&()).unwrap().is_allowed());
    let _ = limiter.refund(&(), 1, first.receipt()).unwrap();
    assert!(!limiter.check(&()).unwrap().is_allowed());
}

/// Of a queue only the last place can be given back.
#[test]
fn keys_that_are_one_are_refunded_from_the_last_on() {
    let time = Arc::new(ManualClock::new(START));
    let limit = LeakyBucketQueue::new(rate!("1/s")).queue(2).unwrap();
    let limiter = Limiter::new(limit, OneKey::<_, _>::new(time));
    assert!(!limiter.check_together(["a", "b", "c", "d", "e"], 1).unwrap().is_allowed());
    assert!(limiter.status(&()).unwrap().reset_after().is_zero());
}

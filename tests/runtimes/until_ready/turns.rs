//! Turns that are given up while they are waited for, waits that have a bound, and lines that have one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use traffik::runtime::{Manual, Runtime};
use traffik::storage::Local;
use traffik::{
    All, AsyncLimiter, Gcra, LeakyBucketQueue, Limiter, Memory, Outcome, Rate, Strategy, Timer, TokenBucket,
    WaitError,
};

use super::crowd::{SECOND, Served, limited, nobody_waits};

const LONG: Duration = Duration::from_secs(1_000);

#[test]
fn impatient_waiters_get_the_rate() {
    let queue = LeakyBucketQueue::new(Rate::per_second(5)).queue(100).unwrap();
    impatient_waiters_of(queue);
    impatient_waiters_of(All([queue]));
    impatient_waiters_of(All([queue, LeakyBucketQueue::new(Rate::per_second(50)).queue(100).unwrap()]));
    impatient_waiters_of((TokenBucket::new(Rate::per_second(500)), queue));
}

fn impatient_waiters_of<S: Strategy>(strategy: S) {
    let runtime = Manual::new();
    let (limiter, served) = (limited(strategy, &runtime), Arc::new(Mutex::new(Vec::new())));
    for _ in 0..10 {
        let (limiter, clock, served) = (Arc::clone(&limiter), runtime.clone(), Arc::clone(&served));
        runtime.spawn(async move {
            loop {
                if clock.timeout(SECOND, limiter.until_ready("key", &clock)).await.is_ok() {
                    served.lock().unwrap().push(clock.now().as_micros());
                }
            }
        });
    }
    runtime.advance(8 * SECOND - Duration::from_micros(1));
    let served = served.lock().unwrap();
    println!("{} of 40 served", served.len());
    assert!(served.len() >= 36, "{} of 40", served.len());
    assert!(served.windows(2).all(|pair| pair[1] >= pair[0] + 200_000), "{served:?}");
}

#[test]
fn turns_that_are_given_up_are_used_or_go_back() {
    let queue = LeakyBucketQueue::new(Rate::per_second(1)).queue(20).unwrap();
    for stays in [None, Some(3), Some(7)] {
        let runtime = Manual::new();
        let limiter = limited(queue, &runtime);
        let mut served = Served::default();
        served.wait(&limiter, &runtime, 1, runtime.sleep(LONG));
        for number in 0..8 {
            let patience = if stays == Some(number) { LONG } else { SECOND / 2 };
            served.wait(&limiter, &runtime, 1, runtime.sleep(patience));
        }
        runtime.advance(SECOND * 6 / 10);
        let Outcome::Allow { after } = limiter.peek("key", 1).unwrap().outcome() else { panic!("full") };
        println!("the next after {after:?}, stays: {stays:?}");
        assert_eq!(after, SECOND * if stays.is_some() { 14 } else { 4 } / 10);
        runtime.advance(SECOND);
        let stayed = stays.map(|number| (number + 1, 1_000_000));
        assert_eq!(served.admitted(), [(0, 0)].into_iter().chain(stayed).collect::<Vec<_>>());
        assert!(nobody_waits(&limiter, "key"));
    }
}

#[test]
fn a_wait_that_cannot_be_kept_fails_at_once_and_takes_nothing() {
    let runtime = Manual::new();
    let within = |limiter: &Limiter<_, _>, cost, within| {
        let before = runtime.now();
        let answer = runtime.run(limiter.until_ready_within("key", cost, within, &runtime)).unwrap();
        (answer.map(|verdict: traffik::Decision| verdict.is_allowed()), runtime.now().since(before))
    };
    // By the wait of a denial: the sixth of five a second.
    let bucket = limited(TokenBucket::new(Rate::per_second(5)), &runtime);
    assert!(bucket.check_n("key", 5).unwrap().is_allowed());
    let wait = SECOND / 5;
    let too_long = |wait| (Err(WaitError::TooLong { wait }), Duration::ZERO);
    assert_eq!(within(&bucket, 1, wait - Duration::from_micros(1)), too_long(wait));
    assert_eq!(within(&bucket, 1, wait), (Ok(true), wait));
    assert_eq!(within(&bucket, 6, LONG), (Err(WaitError::Never), Duration::ZERO));
    // By those in front: ten wait for two seconds.
    let mut served = Served::default();
    for _ in 0..10 {
        served.wait(&bucket, &runtime, 1, runtime.sleep(LONG));
    }
    runtime.advance(Duration::ZERO);
    assert_eq!(within(&bucket, 1, SECOND), too_long(SECOND * 12 / 10), "it looks no further");
    assert_eq!(within(&bucket, 1, SECOND * 22 / 10 - Duration::from_micros(1)), too_long(SECOND * 22 / 10));
    assert_eq!(within(&bucket, 1, SECOND * 22 / 10), (Ok(true), SECOND * 22 / 10));
    assert_eq!((served.admitted().len(), nobody_waits(&bucket, "key")), (10, true));
}

#[test]
fn a_delay_that_is_too_long_is_not_sat_out_and_its_place_goes_back() {
    let queue = LeakyBucketQueue::new(Rate::per_second(1)).queue(5).unwrap();
    let runtime = Manual::new();
    let limiter = limited(queue, &runtime);
    assert!(limiter.check_n("key", 3).unwrap().is_allowed());
    for _ in 0..3 {
        let answer = runtime.run(limiter.until_ready_within("key", 1, SECOND * 2, &runtime)).unwrap();
        assert_eq!(answer, Err(WaitError::TooLong { wait: SECOND * 3 }));
    }
    assert!(runtime.run(limiter.until_ready_within("key", 1, SECOND * 3, &runtime)).unwrap().is_ok());
    assert_eq!(runtime.now().as_micros(), 3_000_000);
}

/// The hits of others in the meantime are not known: a waiter behind one that is held up leaves in time.
#[test]
fn a_wait_ends_in_time_also_behind_others() {
    let runtime = Manual::new();
    let limiter = limited(TokenBucket::new(Rate::per_second(5)), &runtime);
    assert!(limiter.check_n("key", 5).unwrap().is_allowed());
    let mut served = Served::default();
    served.wait(&limiter, &runtime, 1, runtime.sleep(LONG));
    let (taker, clock) = (Arc::clone(&limiter), runtime.clone());
    runtime.spawn(async move {
        clock.sleep(SECOND / 10).await;
        let _ = taker.charge("key", 3).unwrap();
    });
    runtime.advance(Duration::ZERO);
    let within = |within| runtime.run(limiter.until_ready_within("key", 1, within, &runtime)).unwrap();
    // Behind one that asks for more, it is known at once.
    assert_eq!(within(SECOND / 5), Err(WaitError::TooLong { wait: SECOND * 2 / 5 }));
    assert_eq!(runtime.now().as_micros(), 0);
    assert_eq!(within(SECOND / 2), Err(WaitError::TooLong { wait: SECOND / 2 }));
    assert_eq!(runtime.now().as_micros(), 500_000);
    runtime.advance(SECOND);
    assert_eq!(served.admitted(), [(0, 800_000)]);
    assert!(nobody_waits(&limiter, "key"));
}

#[test]
fn those_in_front_count_by_what_they_ask_for() {
    let runtime = Manual::new();
    let limiter = limited(TokenBucket::new(Rate::per_second(5)), &runtime);
    assert!(limiter.check_n("key", 5).unwrap().is_allowed());
    let mut served = Served::default();
    for cost in [5, 2] {
        served.wait(&limiter, &runtime, cost, runtime.sleep(LONG));
    }
    runtime.advance(Duration::ZERO);
    let within = |within| runtime.run(limiter.until_ready_within("key", 1, within, &runtime)).unwrap();
    let wait = SECOND * 16 / 10;
    assert_eq!(within(wait - Duration::from_micros(1)), Err(WaitError::TooLong { wait }));
    assert!(within(wait).is_ok());
    assert_eq!(runtime.now().as_micros(), 1_600_000);
}

/// Two may wait for each key; only later ones fail.
#[test]
fn a_line_that_is_full_refuses_with_the_time_it_would_have_taken() {
    let runtime = Manual::new();
    let storage = Memory::builder().clock(runtime.clone()).max_waiting(2).build();
    let limiter = Arc::new(Limiter::new(TokenBucket::new(Rate::per_second(5)), storage));
    assert!(limiter.check_n("key", 5).unwrap().is_allowed());
    let mut served = Served::default();
    for cost in [3, 2] {
        served.wait(&limiter, &runtime, cost, runtime.sleep(LONG));
    }
    runtime.advance(Duration::ZERO);
    for _ in 0..2 {
        let answer = runtime.run(limiter.until_ready_n("key", 1, &runtime)).unwrap();
        assert_eq!(answer, Err(WaitError::TooLong { wait: SECOND * 12 / 10 }));
    }
    assert!(limiter.check_n("another", 5).unwrap().is_allowed());
    assert!(runtime.run(limiter.until_ready("another", &runtime)).unwrap().is_ok());
    runtime.advance(SECOND * 2);
    assert_eq!(served.admitted(), [(0, 600_000), (1, 1_000_000)]);
    assert!(runtime.run(limiter.until_ready("key", &runtime)).unwrap().is_ok());
}

#[test]
fn an_awaited_storage_fails_at_once_as_well() {
    let runtime = Manual::new();
    let storage = Memory::builder().clock(runtime.clone()).build();
    let limiter = AsyncLimiter::new(Gcra::new(Rate::per_second(1)), Local(storage));
    let within = |within| limiter.until_ready_within("key", 1, within, &runtime);
    assert!(runtime.run(within(Duration::ZERO)).unwrap().is_ok());
    let answer = runtime.run(within(SECOND / 2)).unwrap();
    assert!(matches!(answer, Err(WaitError::TooLong { wait }) if wait == SECOND), "{answer:?}");
    assert_eq!(answer.unwrap_err().to_string(), "the hit would have to wait for 1s, which is too long");
    assert!(runtime.run(within(SECOND)).unwrap().is_ok());
}

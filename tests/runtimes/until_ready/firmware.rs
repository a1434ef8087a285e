//! Waiting for a storage that tasks and interrupts share: in order, without a heap, and never over.

// Chooses what a critical section is.
use critical_section as _;

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use traffik::runtime::{Manual, Runtime};
use traffik::{
    Fixed, Gcra, Limiter, ManualClock, OneKey, Rate, Shared, Storage, Timer, Timestamp, TokenBucket,
    WaitError, rate,
};

use super::crowd::{SECOND, Served, wakes};

/// Five at once, one each 200 ms.
fn five() -> TokenBucket {
    TokenBucket::new(Rate::per_second(5))
}

/// The limiter, of whose key "key" all is used.
fn used<M: Storage<TokenBucket>>(storage: M) -> Arc<Limiter<TokenBucket, M>> {
    let limiter = Limiter::new(five(), storage);
    assert!(limiter.check_n("key", 5).unwrap().is_allowed());
    Arc::new(limiter)
}

fn table<const WAITERS: usize>(runtime: &Manual) -> Fixed<TokenBucket, Manual, 8, Shared<WAITERS>> {
    Fixed::shared(runtime.clone(), 7)
}

#[test]
fn waiters_of_a_shared_storage_are_served_in_the_order_in_which_they_came() {
    fn check<M: Storage<TokenBucket> + Send + Sync + 'static>(new: fn(&Manual) -> M) {
        let runtime = Manual::new();
        let (limiter, mut served) = (used(new(&runtime)), Served::default());
        // Larger ones do not let smaller ones pass.
        for cost in [1, 3, 1, 2] {
            served.wait(&limiter, &runtime, cost, pending());
        }
        runtime.advance(2 * SECOND);
        let times = [200_000, 800_000, 1_000_000, 1_400_000];
        assert_eq!(served.admitted(), times.iter().copied().enumerate().collect::<Vec<_>>());
        assert_eq!(served.wakes(), wakes(&times));
        assert!(limiter.storage().wait_queue().unwrap().is_empty(&"key"));
    }
    check(table::<4>);
    check(|runtime| OneKey::<TokenBucket, _, Shared<4>>::shared(runtime.clone()));
}

#[test]
fn a_waiter_that_gives_up_makes_way_for_the_next_one() {
    let runtime = Manual::new();
    let (limiter, mut served) = (used(table::<8>(&runtime)), Served::default());
    for number in 0..6 {
        // The first while it sleeps, two while they stand behind others.
        let patience = if [0, 2, 3].contains(&number) { SECOND / 10 } else { 100 * SECOND };
        served.wait(&limiter, &runtime, 1, runtime.sleep(patience));
    }
    runtime.advance(2 * SECOND);
    assert_eq!(served.admitted(), [(1, 200_000), (4, 400_000), (5, 600_000)]);
    assert!(limiter.storage().wait_queue().unwrap().is_empty(&"key"));
}

#[test]
fn keys_wait_for_themselves_and_share_the_room() {
    let runtime = Manual::new();
    let (limiter, mut served) = (used(table::<2>(&runtime)), Served::default());
    assert!(limiter.check_n("another", 5).unwrap().is_allowed());
    served.wait(&limiter, &runtime, 5, pending());
    runtime.advance(SECOND / 10);
    // A waiter for another key does not stand behind it, and takes the last place.
    let other = Arc::clone(&limiter);
    let timer = runtime.clone();
    let begun = Arc::<AtomicBool>::default();
    let done = Arc::clone(&begun);
    runtime.spawn(async move {
        let _ = other.until_ready_n("another", 2, &timer).await.unwrap();
        done.store(true, Ordering::Relaxed);
    });
    runtime.advance(SECOND / 10);
    for (key, wait) in [("key", SECOND), ("another", SECOND * 4 / 10)] {
        let answer = runtime.run(limiter.until_ready(key, &runtime)).unwrap();
        assert_eq!(answer, Err(WaitError::TooLong { wait }), "{key}");
    }
    runtime.advance(SECOND * 3 / 10);
    assert!(begun.load(Ordering::Relaxed) && served.admitted().is_empty());
    assert!(runtime.run(limiter.until_ready("another", &runtime)).unwrap().is_ok(), "a place is free again");
    runtime.advance(SECOND);
    assert_eq!(served.admitted(), [(0, 1_000_000)]);
}

#[test]
fn without_room_for_waiters_each_asks_again_and_all_are_served() {
    let runtime = Manual::new();
    let (limiter, mut served) = (used(table::<0>(&runtime)), Served::default());
    assert!(limiter.storage().wait_queue().is_none());
    for _ in 0..4 {
        served.wait(&limiter, &runtime, 1, pending());
    }
    runtime.advance(SECOND);
    let times: Vec<_> = served.admitted().into_iter().map(|(_, at)| at).collect();
    assert_eq!(times, [200_000, 400_000, 600_000, 800_000]);
}

/// Threads stand for interrupts, which a critical section keeps out as it does those.
#[test]
fn interrupts_that_check_while_tasks_wait_take_no_more_than_the_limit() {
    // A waiter comes ten times a second, and gives up after one: there is room for all of them.
    const SECONDS: u32 = 40;
    let runtime = Manual::new();
    let (limiter, mut served) = (used(table::<16>(&runtime)), Served::default());
    let (ends, taken) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let interrupts = [(); 3].map(|()| {
        let (limiter, ends, taken) = (Arc::clone(&limiter), Arc::clone(&ends), Arc::clone(&taken));
        std::thread::spawn(move || {
            loop {
                // Read first: what was there before the end is taken after it.
                let is_last = ends.load(Ordering::SeqCst);
                match limiter.check("key").unwrap().is_allowed() {
                    true => _ = taken.fetch_add(1, Ordering::SeqCst),
                    false if is_last => break,
                    false => std::thread::yield_now(),
                }
            }
        })
    });
    for _ in 0..SECONDS * 10 {
        served.wait(&limiter, &runtime, 1, runtime.sleep(SECOND));
        runtime.advance(SECOND / 10);
    }
    runtime.advance(SECOND);
    ends.store(true, Ordering::SeqCst);
    for interrupt in interrupts {
        interrupt.join().unwrap();
    }
    let (waited, taken) = (served.admitted().len(), taken.load(Ordering::SeqCst));
    println!("{waited} by tasks, {taken} by interrupts");
    assert_eq!(waited + taken, 5 * (SECONDS as usize + 1), "not one too many, not one lost");
    assert!(limiter.storage().wait_queue().unwrap().is_empty(&"key"));
}

/// A place tells one number for both costs, which no limit need ever admit.
#[test]
fn a_room_that_is_full_is_told_at_once_also_of_pairs() {
    let runtime = Manual::new();
    let limits = (TokenBucket::new(rate!("10/s")), TokenBucket::new(rate!("1000/s")));
    let limiter = Limiter::new(limits, OneKey::<_, _, Shared<1>>::shared(runtime.clone()));
    assert!(limiter.check_n(&(), (1, 1_000)).unwrap().is_allowed());
    let mut context = Context::from_waker(Waker::noop());
    let mut first = pin!(limiter.until_ready_n(&(), (1, 500), &runtime));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut second = pin!(limiter.until_ready_n(&(), (1, 500), &runtime));
    assert!(matches!(second.as_mut().poll(&mut context), Poll::Ready(Err(WaitError::TooLong { .. }))));
}

#[test]
fn those_who_wait_while_the_clock_is_set_back_expect_no_more_than_the_limit_lasts() {
    let (runtime, clock) = (Manual::new(), Arc::new(ManualClock::new(Timestamp::from_micros(1 << 40))));
    let limit = Gcra::new(rate!("10/s"));
    let limiter = Limiter::new(limit, OneKey::<_, _, Shared<1>>::shared(Arc::clone(&clock)));
    assert!(limiter.check(&()).unwrap().is_allowed());
    let mut context = Context::from_waker(Waker::noop());
    let mut first = pin!(limiter.until_ready(&(), &runtime));
    assert!(first.as_mut().poll(&mut context).is_pending());
    clock.set(Timestamp::from_micros(1 << 39));
    let mut second = pin!(limiter.until_ready(&(), &runtime));
    let told = second.as_mut().poll(&mut context);
    let Poll::Ready(Err(WaitError::TooLong { wait })) = told else { panic!("{told:?}") };
    assert!(wait <= Duration::from_millis(300), "{wait:?}");
}

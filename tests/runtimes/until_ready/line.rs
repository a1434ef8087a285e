//! One line: its order, its times, who gives up, and what goes wrong.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::poll_immediate;
use traffik::runtime::Manual;
use traffik::{
    All, FixedWindow, Gcra, LeakyBucket, LeakyBucketQueue, Limiter, Memory, Outcome, QuotaRollover, Rate,
    SlidingLog, SlidingWindow, Strategy, Timer, Timestamp, TokenBucket, WaitError,
};

use super::crowd::{SECOND, Served, all, alone, crowd, limited, nobody_waits, wakes};

fn are_served_in_order<S: Strategy<Cost = u32>>(strategy: S, number: usize) {
    let runtime = Manual::new();
    let limiter = limited(strategy.clone(), &runtime);
    let served = crowd(&limiter, &runtime, number);
    runtime.advance(SECOND * 3_600);
    let times = alone(strategy, number);
    assert_eq!(served.wakes(), wakes(&times));
    assert_eq!(served.admitted(), times.into_iter().enumerate().collect::<Vec<_>>());
    assert!(nobody_waits(&limiter, "key"));
}

#[test]
fn waiters_are_served_in_order_each_woken_at_its_turn_and_at_the_exact_time() {
    let rate = Rate::new(7, Duration::from_millis(2_900)).unwrap();
    are_served_in_order(Gcra::new(rate), 100);
    are_served_in_order(Gcra::new(rate).burst(4).unwrap(), 100);
    are_served_in_order(TokenBucket::new(rate).burst(3).unwrap(), 100);
    are_served_in_order(LeakyBucket::new(rate), 100);
    are_served_in_order(FixedWindow::new(rate), 100);
    are_served_in_order(SlidingWindow::new(rate), 100);
    are_served_in_order(QuotaRollover::new(rate), 100);
    are_served_in_order(SlidingLog::<64>::new(rate).unwrap(), 100);
    are_served_in_order(All([TokenBucket::new(rate), TokenBucket::new(Rate::per_minute(40))]), 100);
    // As many as there may be tasks: nobody looks at all of the others.
    are_served_in_order(Gcra::new(Rate::per_second(1_000)), 20_000);
}

/// A waiter for a larger cost than those in front is woken no more often than they are.
#[test]
fn nobody_is_woken_too_soon_whatever_the_costs() {
    let runtime = Manual::new();
    let limiter = limited(TokenBucket::new(Rate::per_second(1)).burst(4).unwrap(), &runtime);
    assert!(limiter.check_n("key", 4).unwrap().is_allowed());
    let (mut served, mut times, mut second) = (Served::default(), Vec::new(), 0);
    for (number, cost) in [3, 1, 4, 1, 1, 2, 4, 3, 1].into_iter().enumerate() {
        served.wait(&limiter, &runtime, cost, pending());
        second += u64::from(cost);
        times.push((number, second * 1_000_000));
    }
    runtime.advance(SECOND * 60);
    assert_eq!(served.admitted(), times);
    assert_eq!(served.wakes(), [1, 2, 2, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn who_gives_up_loses_nobodys_slot() {
    // Without this one, the others are admitted when as many would have been, in the same order.
    for quitter in 0..10 {
        for limit in [3, 1] {
            let runtime = Manual::new();
            let limiter = limited(FixedWindow::new(Rate::per_second(limit)), &runtime);
            while limiter.check("key").unwrap().is_allowed() {}
            let mut served = Served::default();
            for number in 0..10 {
                let when = if number == quitter { SECOND / 2 } else { SECOND * 3_600 };
                served.wait(&limiter, &runtime, 1, runtime.sleep(when));
            }
            runtime.advance(SECOND * 60);
            let remaining = (0..10).filter(|number| *number != quitter);
            let window = |place: usize| (1 + place as u64 / u64::from(limit)) * 1_000_000;
            let expected: Vec<_> =
                remaining.enumerate().map(|(place, number)| (number, window(place))).collect();
            assert_eq!(served.admitted(), expected, "without {quitter}");
            let (woken, times) = (served.wakes(), expected.iter().map(|(_, at)| *at).collect::<Vec<_>>());
            assert_eq!(woken[..quitter], wakes(&times)[..quitter], "nobody in front notices");
            assert!(woken.iter().all(|wakes| *wakes <= 2), "{woken:?}");
            assert!(nobody_waits(&limiter, "key"));
        }
    }
}

#[test]
fn when_all_give_up_nothing_is_left_and_nothing_was_taken() {
    let runtime = Manual::new();
    let limiter = limited(TokenBucket::new(Rate::per_minute(1)), &runtime);
    let mut served = Served::default();
    for number in 0..100u32 {
        served.wait(&limiter, &runtime, 1, runtime.sleep(SECOND + Duration::from_micros(number.into())));
    }
    runtime.advance(SECOND * 2);
    assert_eq!(served.admitted(), [(0, 0)]);
    assert!(nobody_waits(&limiter, "key"));
    runtime.advance(SECOND * 58);
    assert!(limiter.check("key").unwrap().is_allowed());
}

/// A future that was never polled has not come; one that is dropped right when its time has come takes nothing.
#[test]
fn what_is_dropped_at_its_time_leaves_it_to_the_next() {
    let runtime = Manual::new();
    let limiter = limited(Gcra::new(Rate::per_second(1)), &runtime);
    assert!(limiter.check("key").unwrap().is_allowed());
    drop(limiter.until_ready("key", &runtime));
    let (mut first, second) =
        (Box::pin(limiter.until_ready("key", &runtime)), limiter.until_ready("key", &runtime));
    let mut second = pin!(second);
    runtime
        .run(async {
            assert!(
                poll_immediate(first.as_mut()).await.is_none()
                    && poll_immediate(second.as_mut()).await.is_none()
            );
            runtime.sleep(SECOND).await;
            // Its alarm has rung, and it has not been polled since.
            drop(first);
            assert!(second.await.unwrap().is_allowed());
            assert_eq!(runtime.now().as_micros(), 1_000_000);
        })
        .unwrap();
}

#[test]
fn keys_do_not_wait_for_each_other() {
    let runtime = Manual::new();
    let limiter = limited(Gcra::new(Rate::per_second(1)), &runtime);
    let waits = (0..50u32).map(|key| {
        let (limiter, runtime) = (&limiter, &runtime);
        async move {
            for turn in 0..5u64 {
                assert!(limiter.until_ready(&key, runtime).await.unwrap().is_allowed());
                assert_eq!(runtime.now().as_micros(), turn * 1_000_000);
            }
        }
    });
    runtime.run(all(waits)).unwrap();
}

#[test]
fn what_can_never_pass_is_told_at_once_also_behind_others() {
    let runtime = Manual::new();
    let limiter = limited(TokenBucket::new(Rate::per_second(5)), &runtime);
    let served = crowd(&limiter, &runtime, 10);
    runtime.advance(Duration::ZERO);
    let told = runtime.run(limiter.until_ready_n("key", 6, &runtime)).unwrap();
    assert_eq!((told, runtime.now()), (Err(WaitError::Never), Timestamp::EPOCH));
    runtime.advance(SECOND);
    assert_eq!(served.admitted().len(), 10);
}

#[test]
fn a_limit_that_is_closed_while_some_wait_tells_all_of_them() {
    let runtime = Manual::new();
    let storage = Arc::new(Memory::builder().clock(runtime.clone()).build());
    let open = Limiter::new(FixedWindow::new(Rate::per_minute(1)), Arc::clone(&storage));
    let closed = Limiter::new(FixedWindow::new(Rate::per_second(0)), storage);
    assert!(open.check("key").unwrap().is_allowed());
    let told = runtime.run(all([
        Box::pin(open.until_ready("key", &runtime)),
        Box::pin(closed.until_ready("key", &runtime)) as Pin<Box<dyn Future<Output = _>>>,
        Box::pin(open.until_ready("key", &runtime)),
    ]));
    let told: Vec<_> =
        told.unwrap().into_iter().map(|told| told.map(|verdict| verdict.is_allowed())).collect();
    assert_eq!(told, [Ok(true), Err(WaitError::Never), Ok(true)]);
    assert_eq!(runtime.now().as_micros(), 120_000_000);
}

/// A queue admits with a delay; what is dropped before that is over gives its place in the queue back, if it was the last.
#[test]
fn an_admission_with_a_delay_is_waited_out_and_refunded_when_dropped() {
    let runtime = Manual::new();
    let limiter = limited(LeakyBucketQueue::new(Rate::per_second(1)).queue(2).unwrap(), &runtime);
    let mut served = Served::default();
    for number in 0..6 {
        let when = if number == 5 { SECOND * 4 } else { SECOND * 100 };
        served.wait(&limiter, &runtime, 1, runtime.sleep(when));
    }
    runtime.advance(SECOND * 4);
    // Three had room at once, and one more each second. The last, admitted at the third, was not to go before the fifth.
    assert_eq!(served.admitted(), [(0, 0), (1, 1_000_000), (2, 2_000_000), (3, 3_000_000), (4, 4_000_000)]);
    let Outcome::Allow { after } = limiter.check("key").unwrap().outcome() else {
        unreachable!("there is room")
    };
    assert_eq!(after, SECOND);
}

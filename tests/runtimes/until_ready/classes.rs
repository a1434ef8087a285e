//! Waiting by class: shares, reserves, tiers and regions hold for those who wait as for those who ask.

use std::cell::RefCell;
use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use traffik::runtime::Manual;
use traffik::storage::Local;
use traffik::{
    AsyncLimiter, Class, FairShare, FixedWindow, Gcra, Hit, LeakyBucketQueue, Limiter, Memory, OneKey,
    Outcome, Priority, Rate, Ratio, Regions, Shared, Storage, Strategy, Tiered, Timer, TokenBucket, Verdict,
    WaitError,
};

use super::crowd::{SECOND, all, limited, nobody_waits};

type Waited = Result<bool, &'static str>;

/// A limiter of either kind, which has to wait alike.
trait Waits {
    fn wait(&self, key: &str, hit: Hit) -> impl Future<Output = Waited>;
}

impl<S: Strategy<Cost = u32>, M: Storage<S>> Waits for (Limiter<S, M>, Manual) {
    async fn wait(&self, key: &str, hit: Hit) -> Waited {
        let told = self.0.until_ready_n(key, hit, &self.1).await;
        told.map(|verdict| verdict.is_allowed()).map_err(|_| "failed")
    }
}

impl<S: Strategy<Cost = u32>> Waits for (AsyncLimiter<S, Local<Arc<Memory<S, Manual>>>>, Manual) {
    async fn wait(&self, key: &str, hit: Hit) -> Waited {
        let told = self.0.until_ready_n(key, hit, &self.1).await;
        told.map(|verdict| verdict.is_allowed()).map_err(|_| "failed")
    }
}

/// Both kinds of limiters, one after the other, each of several limits on a memory that they share.
macro_rules! both {
    ($limits:expr, |$limiters:ident, $runtime:ident| $test:expr) => {{
        let limits = $limits;
        let $runtime = Manual::new();
        let memory = Arc::new(Memory::builder().clock($runtime.clone()).build());
        let $limiters = limits.map(|limit| (Limiter::new(limit, Arc::clone(&memory)), $runtime.clone()));
        $test;
        let $runtime = Manual::new();
        let memory = Arc::new(Memory::builder().clock($runtime.clone()).build());
        let $limiters =
            limits.map(|limit| (AsyncLimiter::new(limit, Local(Arc::clone(&memory))), $runtime.clone()));
        $test;
    }};
}

/// The output of a future, unless it is dropped after this time.
async fn within<F: Future>(runtime: &Manual, time: Duration, future: F) -> Option<F::Output> {
    match select(pin!(future), pin!(runtime.sleep(time))).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

fn hit(class: Class) -> Hit {
    Hit::new(1).with_class(class)
}

/// The times, in milliseconds, at which a task of each class is admitted that asks again and again.
fn served(
    limiters: &[impl Waits],
    runtime: &Manual,
    keys: &[&str],
    classes: &[Class],
    time: Duration,
) -> Vec<Vec<u64>> {
    let times = RefCell::new(vec![Vec::new(); classes.len()]);
    let tasks = (0..classes.len()).map(|who| {
        let times = &times;
        async move {
            let (limiter, key) = (&limiters[who % limiters.len()], keys[who % keys.len()]);
            loop {
                assert_eq!(limiter.wait(key, hit(classes[who])).await, Ok(true));
                times.borrow_mut()[who].push(runtime.now().as_micros() / 1_000);
            }
        }
    });
    let ended = runtime.run(within(runtime, time - Duration::from_micros(1), all(tasks))).unwrap();
    assert!(ended.is_none());
    times.into_inner()
}

fn ratio(text: &str) -> Ratio {
    text.parse().unwrap()
}

#[test]
fn instances_that_wait_get_their_shares_exactly() {
    let fair = FairShare::<4>::new("9/10s".parse().unwrap());
    let classes = ["a", "b"].map(|name| Class::new().with_instance(name));
    both!([fair, fair.weight(2).unwrap()], |limiters, runtime| {
        let times = served(&limiters, &runtime, &["key"], &classes, SECOND * 60);
        let shares = in_windows(&times, 1..6);
        println!("{shares:?}");
        assert_eq!(shares, [vec![3; 5], vec![6; 5]]);
    });
}

/// A storage of one key does not tell keys apart, and has a line for each class all the same.
#[test]
fn instances_that_wait_for_one_key_get_their_shares_exactly() {
    let runtime = Manual::new();
    let storage = OneKey::<_, _, Shared<2>>::shared(runtime.clone());
    let limiters = [(Limiter::new(FairShare::<2>::new("10/10s".parse().unwrap()), storage), runtime.clone())];
    let classes = ["a", "b"].map(|name| Class::new().with_instance(name));
    let shares = in_windows(&served(&limiters, &runtime, &["key"], &classes, SECOND * 60), 1..6);
    println!("{shares:?}");
    assert_eq!(shares, [[5; 5], [5; 5]]);
}

/// How many of each one's times lie in each of these windows of ten seconds.
fn in_windows(times: &[Vec<u64>], windows: Range<u64>) -> Vec<Vec<usize>> {
    let within = |times: &Vec<u64>, window| times.iter().filter(|time| **time / 10_000 == window).count();
    times.iter().map(|times| windows.clone().map(|window| within(times, window)).collect()).collect()
}

#[test]
fn a_low_priority_waits_and_leaves_the_reserve() {
    let bucket = TokenBucket::new(Rate::per_second(1)).burst(10).unwrap();
    let limit = Priority::new(bucket, [("low".into(), ratio("1/2"))]).unwrap();
    let (low, urgent) = (Class::new().with_priority("low"), Class::new());
    both!([limit], |limiters, runtime| {
        let times = RefCell::new(Vec::new());
        let wait = |after: Duration, cost: u32, class: Class| {
            let (limiter, runtime, times) = (&limiters[0], &runtime, &times);
            async move {
                runtime.sleep(after).await;
                assert_eq!(limiter.wait("key", Hit::new(cost).with_class(class)).await, Ok(true));
                times.borrow_mut().push((class == low, cost, runtime.now().as_micros() / 1_000_000));
            }
        };
        // Low takes its half and waits for more; the urgent has the other half at once, and what comes next.
        let tasks = [wait(Duration::ZERO, 5, low), wait(SECOND / 10, 1, low), wait(SECOND / 5, 5, urgent)];
        let more = [wait(SECOND / 2, 1, urgent), wait(SECOND / 2, 1, low)];
        runtime.run(all(tasks.into_iter().chain(more))).unwrap();
        let times = times.into_inner();
        println!("{times:?}");
        // 11 cost have gone by the first second, so there are six again after seven, and another after eight.
        let expected = [(true, 5, 0), (false, 5, 0), (false, 1, 1), (true, 1, 7), (true, 1, 8)];
        assert_eq!(times, expected);
    });
}

#[test]
fn a_tier_waits_by_its_own_rate() {
    let limit = Tiered::new(
        Gcra::new(Rate::per_second(1)),
        [("free".into(), Ratio::ONE), ("pro".into(), ratio("4"))],
    );
    let classes = ["free", "pro"].map(|name| Class::new().with_tier(name));
    both!([limit.unwrap()], |limiters, runtime| {
        let times = served(&limiters, &runtime, &["ann", "bob"], &classes, SECOND * 12);
        let expected =
            [1_000, 250].map(|every| (0..12_000 / every).map(|turn| turn * every).collect::<Vec<_>>());
        assert_eq!(times, expected);
    });
}

#[test]
fn a_region_waits_for_its_own_share_alone() {
    let shares = [("a".into(), ratio("1/2")), ("b".into(), ratio("3/10"))];
    let limit = Regions::<2>::new("10/10s".parse().unwrap(), &shares).unwrap();
    let classes = ["a", "b", "elsewhere"].map(|name| Class::new().with_region(name));
    both!([limit], |limiters, runtime| {
        let times = served(&limiters, &runtime, &["key"], &classes, SECOND * 40);
        assert_eq!(in_windows(&times, 0..4), [vec![5; 4], vec![3; 4], vec![2; 4]]);
    });
}

/// Waiters of one class are served in the order in which they came, and one that goes has taken nothing.
#[test]
fn those_of_a_class_are_served_in_order_and_who_goes_has_taken_nothing() {
    let limit = FairShare::<4>::new("4/10s".parse().unwrap());
    let [a, b] = ["a", "b"].map(|name| Class::new().with_instance(name));
    both!([limit], |limiters, runtime| {
        let times = RefCell::new(Vec::new());
        let wait = |number: u32, class: Class, patience: Duration| {
            let (limiter, runtime, times) = (&limiters[0], &runtime, &times);
            async move {
                if within(runtime, patience, limiter.wait("key", hit(class))).await.is_some() {
                    times.borrow_mut().push((number, runtime.now().as_micros() / 1_000_000));
                }
            }
        };
        // The first four take the window in which nobody has a share; then each instance has two of four.
        let tasks = (0..16).map(|number| {
            let patience = if number % 5 == 4 { SECOND } else { SECOND * 1_000 };
            wait(number, if number % 2 == 0 { a } else { b }, patience)
        });
        runtime.run(all(tasks)).unwrap();
        let mut times = times.into_inner();
        times.sort_by_key(|(number, at)| (number % 2, *at));
        println!("{times:?}");
        let of_a = [(0, 0), (2, 0), (6, 10), (8, 10), (10, 20), (12, 20)];
        let of_b = [(1, 0), (3, 0), (5, 10), (7, 10), (11, 20), (13, 20), (15, 30)];
        assert_eq!(times, [&of_a[..], &of_b].concat());
    });
}

#[test]
fn what_a_class_can_never_have_is_told_at_once_also_behind_others() {
    let limit = Priority::new(FixedWindow::new(Rate::per_second(10)), [("low".into(), ratio("1/2"))]);
    let runtime = Manual::new();
    let limiter = limited(limit.unwrap(), &runtime);
    let low = Class::new().with_priority("low");
    assert!(limiter.check_n("key", 10).unwrap().is_allowed());
    let waits =
        all([1, 6].map(|cost| limiter.until_ready_n("key", Hit::new(cost).with_class(low), &runtime)));
    let told: Vec<_> = runtime.run(waits).unwrap().into_iter().map(|told| told.map(|_| ())).collect();
    assert_eq!(told, [Ok(()), Err(WaitError::Never)]);
    assert!(runtime.run(limiter.until_ready_n("key", 6, &runtime)).unwrap().is_ok());
    assert!(nobody_waits(&limiter, "key"));
}

/// Waiters in front are of the same class, so what they ask for is known exactly.
#[test]
fn a_wait_that_is_too_long_for_a_class_is_told_exactly() {
    let tiers = [("free".into(), Ratio::ONE), ("pro".into(), ratio("4"))];
    let limit = Tiered::new(TokenBucket::new(Rate::per_second(1)).burst(4).unwrap(), tiers).unwrap();
    let runtime = Manual::new();
    let limiter = limited(limit, &runtime);
    let class = |name: &'static str| Class::new().with_tier(name);
    assert!(limiter.check_n("key", Hit::new(4).with_class(class("pro"))).unwrap().is_allowed());
    let waiting = [("free", 1), ("pro", 2), ("free", 3), ("pro", 1)];
    let waits = waiting
        .map(|(tier, cost)| limiter.until_ready_n("key", Hit::new(cost).with_class(class(tier)), &runtime));
    let asked = async {
        let too_long = |tier, within| {
            let (limiter, runtime) = (&limiter, &runtime);
            async move {
                let told = limiter.until_ready_within("key", hit(class(tier)), within, runtime).await;
                told.map(drop).unwrap_err()
            }
        };
        // Behind 3 of its tier, at 4/s.
        let pro = too_long("pro", SECOND - Duration::from_micros(1)).await;
        // Behind 4 of its tier, at 1/s.
        (pro, too_long("free", SECOND * 5 - Duration::from_micros(1)).await)
    };
    let told = runtime.run(async {
        let mut waits = pin!(all(waits));
        assert!(within(&runtime, Duration::ZERO, waits.as_mut()).await.is_none());
        asked.await
    });
    let too_long = |seconds| WaitError::TooLong { wait: SECOND * seconds };
    assert_eq!(told.unwrap(), (too_long(1), too_long(5)));
}

/// A place in a queue is given back to the class that took it, and only those of its class move up to it.
#[test]
fn a_delay_that_is_given_up_goes_back_to_its_class() {
    let queue = LeakyBucketQueue::new(Rate::per_second(1)).queue(8).unwrap();
    let limit = Tiered::new(queue, [("free".into(), Ratio::ONE), ("pro".into(), ratio("4"))]).unwrap();
    for tier in ["free", "pro"] {
        let runtime = Manual::new();
        let limiter = limited(limit, &runtime);
        let hit = hit(Class::new().with_tier(tier));
        let delay = || match limiter.peek("key", hit).unwrap().outcome() {
            Outcome::Allow { after } => after,
            other => panic!("{other:?}"),
        };
        assert!(limiter.check_n("key", hit).unwrap().is_allowed());
        let before = delay();
        let waits = limiter.until_ready_n("key", hit, &runtime);
        assert!(runtime.run(within(&runtime, Duration::ZERO, waits)).unwrap().is_none());
        println!("{tier}: {before:?}, and {:?} after a drop", delay());
        assert_eq!(delay(), before);
        let time = before - Duration::from_micros(1);
        let told = runtime.run(limiter.until_ready_within("key", hit, time, &runtime)).unwrap();
        assert_eq!((told.map(|_| ()), delay()), (Err(WaitError::TooLong { wait: before }), before));
    }
}

/// A cost needs no class, alone or in a pair; and with one it is the same call.
#[test]
fn a_cost_or_a_hit_is_asked_for() {
    let runtime = Manual::new();
    let bucket = TokenBucket::new(Rate::per_second(10));
    let (one, pair) = (limited(bucket, &runtime), limited((bucket, bucket), &runtime));
    let receipt = one.check_n("key", 4).unwrap().receipt();
    assert_eq!(one.charge("key", 1).unwrap().remaining(), 5);
    assert_eq!(one.refund("key", Hit::new(4), receipt).unwrap().remaining(), 9);
    assert_eq!(one.peek("key", Hit::new(2)).unwrap().remaining(), 7);
    assert!(one.check_together(["a", "b"], 3).unwrap().is_allowed());
    let remaining = |told: <(TokenBucket, TokenBucket) as Strategy>::Verdict| {
        (told.parts.0.remaining(), told.parts.1.remaining())
    };
    let taken = pair.check_n("key", (4, 5)).unwrap();
    assert_eq!(remaining(pair.charge("key", (1, 1)).unwrap()), (5, 4));
    assert_eq!(remaining(pair.refund("key", (4, 5), taken.receipt()).unwrap()), (9, 9));
    let waited = runtime.run(pair.until_ready_n("key", (1, 2), &runtime)).unwrap().unwrap();
    assert_eq!(remaining(waited), (8, 7));
    let class = Class::new().with_tier("pro");
    let hit = Hit::new((2, 3)).with_class(class);
    let waited = runtime.run(pair.until_ready_within("key", hit, SECOND, &runtime)).unwrap().unwrap();
    assert_eq!(remaining(waited), (6, 4));
    let tiered = limited(Tiered::new(bucket, [("pro".into(), ratio("3"))]).unwrap(), &runtime);
    assert_eq!(tiered.stat_for("key", class).unwrap().effective_limit, 30);
}
